"""`spot-edge classify` as a user runs it: its output in three forms, and its errors for bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest


@pytest.fixture
def scans(tmp_path: Path, draw, encode) -> Path:
    """Four good images and three bad ones, in subfolders, with awkward names."""
    folder = tmp_path / "scans"
    (folder / "arm").mkdir(parents=True)
    (folder / "leg").mkdir()
    (folder / "a.png").write_bytes(encode(draw(120, 90)))
    (folder / "arm" / "mole 1.jpg").write_bytes(encode(draw(130, 100), "JPEG"))
    (folder / "leg" / "mole 1.jpg").write_bytes(encode(255 - draw(130, 100), "JPEG"))
    (folder / "läsion.webp").write_bytes(encode(draw(100, 100), "WEBP"))
    (folder / "arm" / "broken.png").write_bytes(encode(draw(120, 90))[:500])
    (folder / "empty.png").touch()
    (folder / "page.gif").write_text("<html>")
    return folder


def lines(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.decode().splitlines()]


def test_text_for_one_file(spot_edge, picture, model) -> None:
    result = spot_edge("classify", picture)
    text = result.stdout.decode()
    assert (result.returncode, result.stderr) == (0, b"")
    assert text.startswith(f"{picture}\n  looks most like")
    assert text.count("model score") == 2
    assert "  triage " in text
    assert text.count("An aid for trained people, not a diagnosis.") == 1


@pytest.mark.parametrize(("top", "shown"), [("1", 1), ("3", 3), ("50", 7)])
def test_how_many_classes_are_shown(top: str, shown: int, spot_edge, picture) -> None:
    assert spot_edge("classify", picture, "--top", top).stdout.count(b"model score") == shown


def test_bad_files_do_not_stop_a_folder(spot_edge, scans) -> None:
    result = spot_edge("classify", scans)
    text, errors = result.stdout.decode(), result.stderr.decode().splitlines()
    assert result.returncode == 3
    for good in ("a.png", "arm/mole 1.jpg", "leg/mole 1.jpg", "läsion.webp"):
        assert text.count(f"{scans / good}\n") == 1
    assert [line.split(": ")[1] for line in errors[:-1]] == [
        str(scans / bad) for bad in ("empty.png", "page.gif", "arm/broken.png")
    ]
    assert errors[-1] == "spot-edge: 3 of 7 images could not be classified"
    assert text.count("not a diagnosis") == 1


def test_every_json_line_parses_also_for_bad_files(spot_edge, scans, model) -> None:
    result = spot_edge("classify", scans, scans / "no*.bmp", "--json")
    records = lines(result.stdout)
    bad = {Path(record["source"]["name"]).name: record["error"] for record in records if "error" in record}
    good = [record for record in records if "error" not in record]
    assert result.returncode == 3
    assert set(bad) == {"empty.png", "page.gif", "broken.png", "no*.bmp"}
    assert "matches no file" in bad["no*.bmp"]
    assert len(good) == 4
    assert all(record["schema"] == 1 for record in records)
    assert all(record["model"]["id"] == model.id and len(record["ranked"]) == 7 for record in good)


def test_csv_parses_with_a_column_for_every_class(spot_edge, scans, model) -> None:
    rows = list(csv.DictReader(io.StringIO(spot_edge("classify", scans, "--csv").stdout.decode())))
    labels = [label.label for label in model.spec.labels]
    assert list(rows[0]) == ["source", "top_class", "triage", "malignant_score", *labels, "model", "error"]
    good, bad = [row for row in rows if not row["error"]], [row for row in rows if row["error"]]
    assert (len(good), len(bad)) == (4, 3)
    for row in good:
        scores = {label: float(row[label]) for label in labels}
        assert sum(scores.values()) == pytest.approx(1, abs=1e-4)
        if row["triage"] == "cannot assess":  # the image in negative colours
            assert row["top_class"] == row["malignant_score"] == ""
            continue
        assert row["top_class"] == max(scores, key=scores.get)
        assert row["triage"] in ("review now", "review soon", "routine")
        malignant = sum(scores[label.label] for label in model.spec.labels if label.malignant)
        assert float(row["malignant_score"]) == pytest.approx(malignant, abs=1e-4)
    assert all(not any(row[label] for label in labels) for row in bad)


def test_the_three_forms_agree(spot_edge, picture) -> None:
    (record,) = lines(spot_edge("classify", picture, "--json").stdout)
    (row,) = csv.DictReader(io.StringIO(spot_edge("classify", picture, "--csv").stdout.decode()))
    text = spot_edge("classify", picture).stdout.decode()
    best = record["ranked"][0]
    assert row["top_class"] == best["label"]
    assert float(row[best["label"]]) == pytest.approx(best["score"], abs=1e-6)
    assert best["name"] in text.splitlines()[1]
    assert f"{best['score']:.2f}" in text.splitlines()[1]
    assert record["triage"]["category"].upper() in text


def test_a_quoted_pattern(spot_edge, scans) -> None:
    records = lines(spot_edge("classify", scans / "**" / "mole*.jpg", "--json").stdout)
    assert [Path(record["source"]["name"]).parent.name for record in records] == ["arm", "leg"]


def test_standard_input(spot_edge, lesion, picture) -> None:
    (piped,) = lines(spot_edge("classify", "-", "--json", input=lesion).stdout)
    (named,) = lines(spot_edge("classify", picture, "--json").stdout)
    assert piped["source"] == {"kind": "bytes", "name": "-"}
    assert piped["ranked"] == named["ranked"]
    nothing = spot_edge("classify", "-", input=b"")
    assert (nothing.returncode, nothing.stderr) == (3, b"spot-edge: -: empty\n")


@pytest.mark.parametrize(("name", "why"), [("gone.jpg", "no such file"), ("nothing", "no images in this folder")])
def test_a_single_name_that_matches_nothing(name: str, why: str, spot_edge, tmp_path) -> None:
    (tmp_path / "nothing").mkdir()
    result = spot_edge("classify", tmp_path / name)
    assert (result.returncode, result.stdout) == (3, b"")
    assert result.stderr.decode().startswith(f"spot-edge: {tmp_path / name}: {why}")
    assert result.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="its file system rejects such names")
@pytest.mark.parametrize(
    "name", [b"two\nlines.png", b"a b'\"c.png", "läsion 皮.png".encode(), b"\xff\xfe.png", b"-x: y.png"]
)
def test_awkward_file_names(name: bytes, spot_edge, lesion, tmp_path) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    Path(os.fsdecode(path)).write_bytes(lesion)
    bad = path[:-4] + b".bad"
    record, failure = lines(spot_edge("classify", path, bad, "--json").stdout)
    assert os.fsencode(record["source"]["name"]) == path
    assert os.fsencode(failure["source"]["name"]) == bad
    result = spot_edge("classify", path, bad)
    assert result.returncode == 3
    assert result.stdout.splitlines()[1].startswith(b"  looks most like")
    assert len(result.stderr.splitlines()) == 2
    (row,) = csv.DictReader(io.StringIO(spot_edge("classify", path, "--csv").stdout.decode(), newline=""))
    assert row["source"].startswith(str(tmp_path))
    assert len(row["model"]) == 64


def test_a_terminal_without_umlauts(spot_edge, lesion, tmp_path) -> None:
    (tmp_path / "läsion.png").write_bytes(lesion)
    result = spot_edge("classify", tmp_path / "läsion.png", env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0
    assert b"l\\xe4sion.png" in result.stdout


def test_the_requested_runtime_and_threads_are_used(spot_edge, picture, classifier) -> None:
    name = classifier.runtime.name
    (record,) = lines(spot_edge("classify", picture, "--json", "--runtime", name, "--threads", "1").stdout)
    assert record["runtime"]["name"] == name
    assert record["ranked"] == classifier.classify(picture).as_dict()["ranked"]


def test_a_named_model_file_is_used(spot_edge, picture, model, tmp_path) -> None:
    path = tmp_path / "my model.tflite"
    path.write_bytes(model.content)
    (record,) = lines(spot_edge("classify", picture, "--model", path, "--json").stdout)
    assert record["model"]["id"] == model.id


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_bad_model_file_exits_with_4(content: bytes | None, spot_edge, picture, tmp_path) -> None:
    path = tmp_path / "bad.tflite"
    if content is not None:
        path.write_bytes(content)
    result = spot_edge("classify", picture, "--model", path)
    assert (result.returncode, result.stdout) == (4, b"")
    assert result.stderr.decode().startswith(f"spot-edge: {path}: ")
    assert result.stderr.count(b"\n") == 1


def test_info_shows_the_model(spot_edge, model) -> None:
    text = spot_edge("info").stdout.decode()
    assert model.id in text
    assert all(label.name in text for label in model.spec.labels)
    record = json.loads(spot_edge("info", "--json").stdout)
    assert (record["id"], record["bytes"]) == (model.id, len(model.content))
    assert record["signature"]["inputs"]["image"]["shape"] == [1, model.spec.image.size, model.spec.image.size, 3]
