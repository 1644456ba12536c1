"""`spot-edge classify`, as a user runs it: what it answers, in three forms, and what it says of bad input."""

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
    """A folder of four good pictures and three bad ones, in folders, with awkward names."""
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


def test_one_file_in_words(spot_edge, picture, model) -> None:
    ended = spot_edge("classify", picture)
    said = ended.stdout.decode()
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert said.startswith(f"{picture}\n  looks most like")
    assert said.count("model score") == 2
    assert "  triage " in said
    assert said.count("An aid for trained people, not a diagnosis.") == 1


@pytest.mark.parametrize(("top", "shown"), [("1", 1), ("3", 3), ("50", 7)])
def test_how_many_classes_are_shown(top: str, shown: int, spot_edge, picture) -> None:
    assert spot_edge("classify", picture, "--top", top).stdout.count(b"model score") == shown


def test_a_folder_of_good_and_bad_files_goes_on_to_its_end(spot_edge, scans) -> None:
    ended = spot_edge("classify", scans)
    said, complained = ended.stdout.decode(), ended.stderr.decode().splitlines()
    assert ended.returncode == 3
    for good in ("a.png", "arm/mole 1.jpg", "leg/mole 1.jpg", "läsion.webp"):
        assert said.count(f"{scans / good}\n") == 1
    assert [line.split(": ")[1] for line in complained[:-1]] == [
        str(scans / bad) for bad in ("empty.png", "page.gif", "arm/broken.png")
    ]
    assert complained[-1] == "spot-edge: 3 of 7 images could not be classified"
    assert said.count("not a diagnosis") == 1


def test_json_lines_each_parse_the_bad_ones_too(spot_edge, scans, model) -> None:
    ended = spot_edge("classify", scans, scans / "no*.bmp", "--json")
    records = lines(ended.stdout)
    bad = {Path(record["source"]["name"]).name: record["error"] for record in records if "error" in record}
    good = [record for record in records if "error" not in record]
    assert ended.returncode == 3
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
        if row["triage"] == "cannot assess":  # the negative
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
    words = spot_edge("classify", picture).stdout.decode()
    best = record["ranked"][0]
    assert row["top_class"] == best["label"]
    assert float(row[best["label"]]) == pytest.approx(best["score"], abs=1e-6)
    assert best["name"] in words.splitlines()[1]
    assert f"{best['score']:.2f}" in words.splitlines()[1]
    assert record["triage"]["category"].upper() in words


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
def test_a_single_name_that_stands_for_nothing(name: str, why: str, spot_edge, tmp_path) -> None:
    (tmp_path / "nothing").mkdir()
    ended = spot_edge("classify", tmp_path / name)
    assert (ended.returncode, ended.stdout) == (3, b"")
    assert ended.stderr.decode().startswith(f"spot-edge: {tmp_path / name}: {why}")
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="its file system does not take such names")
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
    words = spot_edge("classify", path, bad)
    assert words.returncode == 3
    assert words.stdout.splitlines()[1].startswith(b"  looks most like")
    assert len(words.stderr.splitlines()) == 2
    (row,) = csv.DictReader(io.StringIO(spot_edge("classify", path, "--csv").stdout.decode(), newline=""))
    assert row["source"].startswith(str(tmp_path))
    assert len(row["model"]) == 64


def test_a_terminal_that_knows_no_umlaut(spot_edge, lesion, tmp_path) -> None:
    (tmp_path / "läsion.png").write_bytes(lesion)
    ended = spot_edge("classify", tmp_path / "läsion.png", env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 0
    assert b"l\\xe4sion.png" in ended.stdout


def test_the_runtime_and_threads_that_were_requested(spot_edge, picture, classifier) -> None:
    name = classifier.runtime.name
    (record,) = lines(spot_edge("classify", picture, "--json", "--runtime", name, "--threads", "1").stdout)
    assert record["runtime"]["name"] == name
    assert record["ranked"] == classifier.classify(picture).as_dict()["ranked"]


def test_a_model_file_that_was_named(spot_edge, picture, model, tmp_path) -> None:
    path = tmp_path / "my model.tflite"
    path.write_bytes(model.content)
    (record,) = lines(spot_edge("classify", picture, "--model", path, "--json").stdout)
    assert record["model"]["id"] == model.id


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_bad_model_file_ends_with_4(content: bytes | None, spot_edge, picture, tmp_path) -> None:
    path = tmp_path / "bad.tflite"
    if content is not None:
        path.write_bytes(content)
    ended = spot_edge("classify", picture, "--model", path)
    assert (ended.returncode, ended.stdout) == (4, b"")
    assert ended.stderr.decode().startswith(f"spot-edge: {path}: ")
    assert ended.stderr.count(b"\n") == 1


def test_info_tells_what_the_model_carries(spot_edge, model) -> None:
    words = spot_edge("info").stdout.decode()
    assert model.id in words
    assert all(label.name in words for label in model.spec.labels)
    record = json.loads(spot_edge("info", "--json").stdout)
    assert (record["id"], record["bytes"]) == (model.id, len(model.content))
    assert record["signature"]["inputs"]["image"]["shape"] == [1, model.spec.image.size, model.spec.image.size, 3]
