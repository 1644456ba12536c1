"""What `spot-edge classify --out FILE` refuses: files with other content, paths and options."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX locks")


def test_an_existing_file_is_not_changed_by_default(spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "predictions.jsonl"
    out.write_text("mine")
    result = spot_edge("classify", picture, "--json", "--out", out)
    assert (result.returncode, result.stdout) == (6, b"")
    assert result.stderr.decode().startswith(f"spot-edge: {out}: exists: continue it with --resume")
    assert result.stderr.count(b"\n") == 1
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("form", "change", "why"),
    [
        ("--json", lambda text: text.replace('"id":', '"was":'), "record 1 is damaged"),
        ("--csv", lambda text: text.replace(text.split(",")[-2], "f" * 64), "record 1 is from another model"),
        (
            "--csv",
            lambda text: text.replace("malignant_score,", "malignant_score,mole,"),
            "does not hold --csv predictions with these classes",
        ),
        ("--csv", lambda text: text + "x,y\n", "record 2 is damaged"),
        ("--json", lambda text: text + "{}\n", "record 2 is damaged"),
        ("--json", lambda text: text + "a line\n", "record 2 is damaged"),
        ("--json", lambda text: "a line without an end", "does not hold --json predictions"),
        ("--csv", lambda text: "source,first\na.png,melanoma\n", "does not hold --csv predictions"),
        ("--json", lambda text: "\0" * 100, "does not hold --json predictions"),
    ],
)
def test_a_file_with_other_content_is_refused(form: str, change, why: str, spot_edge, picture, model, tmp_path) -> None:
    out = tmp_path / "predictions"
    spot_edge("classify", picture, form, "--out", out)
    out.write_text(change(out.read_text()))
    content = out.read_bytes()
    result = spot_edge("classify", picture, form, "--out", out, "--resume")
    assert (result.returncode, result.stdout) == (6, b"")
    assert result.stderr.decode().startswith(f"spot-edge: {out}: ")
    assert why in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1
    assert out.read_bytes() == content


def test_predictions_of_another_model_are_refused(spot_edge, picture, model, tmp_path) -> None:
    out = tmp_path / "predictions.jsonl"
    spot_edge("classify", picture, "--json", "--out", out)
    out.write_text(out.read_text().replace(model.id, model.id[::-1]))
    result = spot_edge("classify", picture, "--json", "--out", out, "--resume")
    assert (result.returncode, result.stderr.count(b"from another model")) == (6, 1)


@pytest.mark.parametrize(("begun", "resumed"), [("--json", "--csv"), ("--csv", "--json")])
def test_another_output_format_is_refused(begun: str, resumed: str, spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "predictions"
    spot_edge("classify", picture, begun, "--out", out)
    result = spot_edge("classify", picture, resumed, "--out", out, "--resume")
    assert (result.returncode, result.stderr.count(b"does not hold")) == (6, 1)


@posix
def test_two_runs_at_once_are_refused(spot_edge, start, picture, lesion, tmp_path) -> None:
    out = tmp_path / "predictions.jsonl"
    running = start("classify", picture, "-", "--json", "--out", out, stdin=subprocess.PIPE)
    while not (out.exists() and out.read_bytes().endswith(b"\n")):
        assert running.poll() is None
    result = spot_edge("classify", picture, "-", "--json", "--out", out, "--resume", input=lesion)
    assert (result.returncode, result.stderr) == (
        6,
        f"spot-edge: {out}: another spot-edge process is writing to it\n".encode(),
    )
    running.communicate(lesion, timeout=60)
    sources = [json.loads(line)["source"]["name"] for line in out.read_text().splitlines()]
    assert (running.returncode, sources) == (0, [str(picture), "-"])


@pytest.mark.parametrize("where", ["missing/predictions.csv", "/dev/null"])
def test_an_impossible_output_path_exits_with_6(where: str, spot_edge, picture) -> None:
    result = spot_edge("classify", picture, "--csv", "--out", picture.parent / where)
    assert (result.returncode, result.stdout, result.stderr.count(b"\n")) == (6, b"", 1)


@pytest.mark.parametrize(
    "options",
    [
        ["--out", "predictions"],
        ["--json", "--resume"],
        ["--json", "--out", "predictions", "--burst", "3"],
        ["--json", "--out", "."],
    ],
)
def test_conflicting_options_exit_with_2(options: list[str], spot_edge, picture) -> None:
    result = spot_edge("classify", picture, *options, cwd=picture.parent)
    assert (result.returncode, result.stdout) == (2, b"")
    assert sorted(picture.parent.iterdir()) == [picture]


def test_a_camera_cannot_be_resumed(spot_edge, tmp_path) -> None:
    result = spot_edge("classify", "--camera", "--csv", "--out", tmp_path / "predictions", "--resume")
    assert result.returncode == 2
