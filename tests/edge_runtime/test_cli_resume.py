"""`spot-edge classify --out FILE --resume`: whatever ended a run, going on gives what one run would have given."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals, limits and file names")
FORMS = pytest.mark.parametrize("form", ["--json", "--csv"])


@pytest.fixture
def folder(tmp_path: Path, draw, encode) -> Path:
    """Thirty pictures, none like another; every seventh is damaged, one has an awkward name."""
    inside = tmp_path / "scans"
    inside.mkdir()
    for number in range(30):
        content = encode(np.roll(draw(120, 80), 5 * number, axis=1), "JPEG")
        name = 'a "b",\nc\rd' if number == 12 and os.name == "posix" else "mole"
        (inside / f"{number:02} {name}.jpg").write_bytes(content[:60] if number % 7 == 3 else content)
    return inside


def timeless(path: Path) -> object:
    """What a file holds, but for the times that the answers took."""
    if path.suffix == ".csv" or path.suffix in (".jpg", ".png"):
        return path.read_bytes()
    text = path.read_text()
    records = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else [json.loads(text)]
    return [[(key, value) for key, value in record.items() if key != "timings_ms"] for record in records]


def contents(folder: Path) -> dict[str, object]:
    return {path.name: timeless(path) for path in folder.iterdir()}


def answers(folder: Path, form: str) -> Path:
    return folder / {"--json": "answers.jsonl", "--csv": "answers.csv"}[form]


def names(path: Path) -> list[str]:
    """The pictures that have an answer, which may be half written in CSV."""
    if path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            return [row["source"] for row in csv.DictReader(file)]
    return [json.loads(line)["source"]["name"] for line in path.read_text().splitlines(True) if line[-1] == "\n"]


@FORMS
def test_the_file_holds_what_standard_output_would(form: str, spot_edge, folder, tmp_path) -> None:
    out = answers(tmp_path, form)
    ended = spot_edge("classify", folder, form, "--out", out)
    printed = spot_edge("classify", folder, form)
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, b"", printed.stderr)
    shown = tmp_path / f"shown{out.suffix}"
    shown.write_bytes(printed.stdout)
    assert timeless(shown) == timeless(out)


# It kills itself a moment after its first answer: who would do so from without may come late.
KILLED = """
import os, signal, threading, time
def kill(path, size, wait):
    while not os.path.exists(path) or os.path.getsize(path) <= size:
        time.sleep(0.001)
    time.sleep(wait)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill, args=({!r}, {}, {}), daemon=True).start()
"""


@posix
@FORMS
@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_run_killed_many_times_resumes(form: str, threads: str, spot_edge, start, folder, tmp_path) -> None:
    whole, parts, chance = tmp_path / "whole", tmp_path / "parts", random.Random(form + threads)
    for out in (whole, parts):
        out.mkdir()

    def command(out: Path) -> list[object]:
        kept = ["--out", answers(out, form), "--save", out, "--heatmap", out]
        return ["classify", folder, form, *kept, "--threads", threads]

    assert spot_edge(*command(whole)).returncode == 3
    cut, file = 0, answers(parts, form)
    for _ in range(6):
        before = file.stat().st_size if file.exists() else 0
        running = start(*command(parts), "--resume", before=KILLED.format(str(file), before, chance.random() / 50))
        cut += running.wait(60) == -signal.SIGKILL
    assert cut
    assert spot_edge(*command(parts), "--resume").returncode == 3
    assert contents(parts) == contents(whole)


@FORMS
def test_cut_anywhere(form: str, spot_edge, folder, tmp_path) -> None:
    """As a machine without power leaves it: at any byte, with the last answers' kept files there or half there."""
    out, chance = answers(tmp_path, form), random.Random(3)
    kept, command = tmp_path / "kept", ["classify", folder, form, "--out", out, "--save", tmp_path / "kept"]
    spot_edge(*command)
    whole, before, content = timeless(out), contents(kept), out.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == 10]
    for place in (0, 1, ends[0] - 1, ends[0], ends[12] + 1, ends[13], *chance.sample(range(len(content)), 3)):
        out.write_bytes(content[:place])
        done = names(out)
        for path in chance.sample(sorted(kept.glob("*.json")), 5):  # each is written after its .jpg
            if json.loads(path.read_text())["source"]["name"] not in done:
                path.unlink()
        assert spot_edge(*command, "--resume").returncode == 3
        assert timeless(out) == whole
        assert contents(kept) == before


@FORMS
def test_nothing_is_left_to_do(form: str, spot_edge, folder, tmp_path) -> None:
    out = answers(tmp_path, form)
    spot_edge("classify", folder, form, "--out", out)
    content = out.read_bytes()
    ended = spot_edge("classify", folder, form, "--out", out, "--resume")
    assert (ended.returncode, ended.stderr) == (3, b"spot-edge: 4 of 30 images could not be classified\n")
    assert out.read_bytes() == content


def test_a_file_that_is_there_is_not_touched_by_default(spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "answers.jsonl"
    out.write_text("mine")
    ended = spot_edge("classify", picture, "--json", "--out", out)
    assert (ended.returncode, ended.stdout) == (6, b"")
    assert ended.stderr.decode().startswith(f"spot-edge: {out}: exists: continue it with --resume")
    assert ended.stderr.count(b"\n") == 1
    assert out.read_text() == "mine"


def test_to_resume_what_was_not_begun_is_to_begin(spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "answers.jsonl"
    assert spot_edge("classify", picture, "--json", "--out", out, "--resume").returncode == 0
    assert names(out) == [str(picture)]


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
    out = answers(tmp_path, form)
    spot_edge("classify", picture, form, "--out", out)
    out.write_text(change(out.read_text()))
    content = out.read_bytes()
    ended = spot_edge("classify", picture, form, "--out", out, "--resume")
    assert (ended.returncode, ended.stdout) == (6, b"")
    assert ended.stderr.decode().startswith(f"spot-edge: {out}: ")
    assert why in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1
    assert out.read_bytes() == content


def test_answers_of_another_model_are_refused(spot_edge, picture, model, tmp_path) -> None:
    out = tmp_path / "answers.jsonl"
    spot_edge("classify", picture, "--json", "--out", out)
    out.write_text(out.read_text().replace(model.id, model.id[::-1]))
    ended = spot_edge("classify", picture, "--json", "--out", out, "--resume")
    assert (ended.returncode, ended.stderr.count(b"from another model")) == (6, 1)


@pytest.mark.parametrize(("begun", "resumed"), [("--json", "--csv"), ("--csv", "--json")])
def test_the_other_form_is_refused(begun: str, resumed: str, spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "answers"
    spot_edge("classify", picture, begun, "--out", out)
    ended = spot_edge("classify", picture, resumed, "--out", out, "--resume")
    assert (ended.returncode, ended.stderr.count(b"does not hold")) == (6, 1)


@FORMS
def test_an_image_is_the_same_by_whatever_path(form: str, spot_edge, folder, tmp_path) -> None:
    out = answers(tmp_path, form)
    spot_edge("classify", folder, form, "--out", out)
    content = out.read_bytes()
    for where, name in ((tmp_path, "scans"), (folder, "."), (folder, f"..{os.sep}scans{os.sep}"), (tmp_path, "*/*")):
        assert spot_edge("classify", name, form, "--out", out, "--resume", cwd=where).returncode == 3
        assert out.read_bytes() == content


def test_other_images_are_refused(spot_edge, folder, picture, tmp_path) -> None:
    out = tmp_path / "answers.csv"
    spot_edge("classify", "scans", "--csv", "--out", out, cwd=tmp_path)
    elsewhere = spot_edge("classify", folder, "--csv", "--out", out, "--resume", cwd=folder)
    assert elsewhere.returncode == 6
    assert b"holds predictions for other images, such as scans" in elsewhere.stderr
    assert len(names(out)) == 30


def test_images_that_came_later_are_added(spot_edge, folder, lesion, tmp_path) -> None:
    out = tmp_path / "answers.jsonl"
    spot_edge("classify", folder, "--json", "--out", out)
    before = names(out)
    (folder / "00.png").write_bytes(lesion)
    (folder / "29 mole.jpg").unlink()
    ended = spot_edge("classify", folder, "--json", "--out", out, "--resume")
    assert names(out) == [*before, str(folder / "00.png")]
    assert ended.stderr == b"spot-edge: 4 of 30 images could not be classified\n"


def test_a_failure_is_an_answer_until_its_line_is_removed(spot_edge, folder, lesion, tmp_path) -> None:
    out = tmp_path / "answers.jsonl"
    spot_edge("classify", folder, "--json", "--out", out)
    bad = [name for name, line in zip(names(out), out.read_text().splitlines(), strict=True) if '"error"' in line]
    for name in bad:
        Path(name).write_bytes(lesion)
    assert spot_edge("classify", folder, "--json", "--out", out, "--resume").returncode == 3
    out.write_text("".join(line for line in out.read_text().splitlines(True) if '"error"' not in line))
    assert spot_edge("classify", folder, "--json", "--out", out, "--resume").returncode == 0
    assert names(out)[-4:] == bad
    assert len(names(out)) == 30


def test_an_image_named_twice_has_two_predictions(spot_edge, picture, tmp_path) -> None:
    out = tmp_path / "answers.csv"
    spot_edge("classify", picture, "--csv", "--out", out)
    assert spot_edge("classify", picture, picture, "--csv", "--out", out, "--resume").returncode == 0
    assert spot_edge("classify", picture, picture, "--csv", "--out", out, "--resume").returncode == 0
    assert names(out) == [str(picture)] * 2


@posix
@FORMS
def test_a_name_that_is_not_unicode(form: str, spot_edge, lesion, tmp_path) -> None:
    if sys.platform == "darwin":
        pytest.skip("NOT RUN: this file system takes no such names")
    out, picture = answers(tmp_path, form), os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xff\xfe.png"))
    Path(picture).write_bytes(lesion)
    spot_edge("classify", picture, form, "--out", out)
    content = out.read_bytes()
    assert spot_edge("classify", picture, form, "--out", out, "--resume").returncode == 0
    assert out.read_bytes() == content


@posix
def test_two_at_once_are_refused(spot_edge, start, picture, lesion, tmp_path) -> None:
    out = tmp_path / "answers.jsonl"
    running = start("classify", picture, "-", "--json", "--out", out, stdin=subprocess.PIPE)
    while not (out.exists() and out.read_bytes().endswith(b"\n")):
        assert running.poll() is None
    ended = spot_edge("classify", picture, "-", "--json", "--out", out, "--resume", input=lesion)
    assert (ended.returncode, ended.stderr) == (
        6,
        f"spot-edge: {out}: another spot-edge process is writing to it\n".encode(),
    )
    running.communicate(lesion, timeout=60)
    assert (running.returncode, names(out)) == (0, [str(picture), "-"])


@posix
@FORMS
def test_a_full_disk_ends_with_6_and_can_be_resumed(form: str, spot_edge, start, folder, tmp_path) -> None:
    import resource

    out = answers(tmp_path, form)
    size = {"--json": 20_000, "--csv": 2_000}[form]
    full = start(
        *("classify", folder, form, "--out", out),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    _, said = full.communicate(timeout=60)
    assert full.returncode == 6
    assert said.decode().splitlines()[-1] == f"spot-edge: {out}: cannot be written: File too large"
    assert out.stat().st_size == size
    assert not out.read_bytes().endswith(b"\n")
    assert spot_edge("classify", folder, form, "--out", out, "--resume").returncode == 3
    spot_edge("classify", folder, form, "--out", whole := answers(folder, form))
    assert timeless(out) == timeless(whole)


@pytest.mark.parametrize("where", ["missing/answers.csv", "/dev/null"])
def test_a_place_where_no_file_can_be_ends_with_6(where: str, spot_edge, picture) -> None:
    ended = spot_edge("classify", picture, "--csv", "--out", picture.parent / where)
    assert (ended.returncode, ended.stdout, ended.stderr.count(b"\n")) == (6, b"", 1)


@pytest.mark.parametrize(
    "options",
    [
        ["--out", "answers"],
        ["--json", "--resume"],
        ["--json", "--out", "answers", "--burst", "3"],
        ["--json", "--out", "."],
    ],
)
def test_options_that_do_not_go_together(options: list[str], spot_edge, picture) -> None:
    ended = spot_edge("classify", picture, *options, cwd=picture.parent)
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert sorted(picture.parent.iterdir()) == [picture]


def test_a_camera_cannot_be_resumed(spot_edge, tmp_path) -> None:
    ended = spot_edge("classify", "--camera", "--csv", "--out", tmp_path / "answers", "--resume")
    assert ended.returncode == 2


def test_another_runs_results_are_saved_beside(spot_edge, folder, tmp_path) -> None:
    """Where results of the same names lie already, but of other pictures, numbers are given as ever."""
    out, kept = tmp_path / "answers.csv", tmp_path / "kept"
    kept.mkdir()
    (kept / "00 mole.jpg").write_bytes(b"another")
    (kept / "01 mole.json").write_text("{}")
    command = ["classify", folder, "--csv", "--out", out, "--save", kept]
    spot_edge(*command)
    whole = contents(kept)
    out.unlink()  # as if no answer had been written before the power went
    spot_edge(*command, "--resume")
    assert contents(kept) == whole
    assert (kept / "00 mole.jpg").read_bytes() == b"another"
    assert (kept / "00 mole-2.jpg").exists()


@posix
def test_half_results_of_the_dead_are_removed(spot_edge, folder, python, tmp_path) -> None:
    kept, dead = tmp_path / "kept", int(python("-c", "import os; print(os.getpid())").stdout)
    kept.mkdir()
    half, alive = kept / f".00\nmole.jpg.{dead}-140", kept / f".00 mole.jpg.{os.getpid()}-140"
    other = kept / f".note.txt.{dead}-140"
    for path in (half, alive, other):
        path.write_bytes(b"half")
    command = ["classify", folder, "--csv", "--out", tmp_path / "answers.csv", "--save", kept, "--resume"]
    spot_edge(*command)
    assert [path.exists() for path in (half, alive, other)] == [False, True, True]
