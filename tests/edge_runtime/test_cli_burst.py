"""`spot-edge classify --burst`: which images form a burst, and what is reported for the others."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def visits(tmp_path: Path, draw, encode) -> Path:
    """Two lesions, each in its own folder: three images and two."""
    folder = tmp_path / "visits"
    for lesion, sides in {"arm": (120, 130, 140), "leg": (110, 150)}.items():
        (folder / lesion).mkdir(parents=True)
        for number, side in enumerate(sides):
            (folder / lesion / f"{number}.jpg").write_bytes(encode(draw(side, 90), "JPEG"))
    return folder


def lines(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.decode().splitlines()]


def test_each_folder_is_one_lesion(spot_edge, visits, classifier) -> None:
    result = spot_edge("classify", visits, "--burst", "5", "--json")
    assert (result.returncode, result.stderr) == (0, b"")
    records = lines(result.stdout)
    assert [record["burst"]["frames"] for record in records] == [3, 2]
    for record, lesion in zip(records, ("arm", "leg"), strict=True):
        files = sorted((visits / lesion).iterdir())
        assert record["source"] == {"kind": "path", "name": str(files[record["burst"]["kept"] - 1])}
        same = classifier.classify_burst(files).as_dict()
        assert (record["ranked"], record["triage"]) == (same["ranked"], same["triage"])


def test_named_files_form_bursts_by_their_folders(spot_edge, visits) -> None:
    named = [visits / "arm" / "0.jpg", visits / "leg" / "0.jpg", visits / "arm" / "1.jpg"]
    records = lines(spot_edge("classify", *named, "--burst", "2", "--json").stdout)
    assert [record["burst"]["frames"] for record in records] == [2, 1]
    assert Path(records[0]["source"]["name"]).parent == visits / "arm"


def test_text_and_csv_have_one_prediction_per_burst(spot_edge, visits) -> None:
    text = spot_edge("classify", visits, "--burst", "3").stdout.decode()
    assert text.count("  triage ") == 2
    assert "3 images" in text
    assert text.count("not a diagnosis") == 1
    rows = list(csv.DictReader(io.StringIO(spot_edge("classify", visits, "--burst", "3", "--csv").stdout.decode())))
    assert [Path(row["source"]).parent.name for row in rows] == ["arm", "leg"]


def test_a_folder_with_too_many_images_fails_and_the_others_do_not(spot_edge, visits) -> None:
    result = spot_edge("classify", visits, "--burst", "2", "--json")
    failure, record = lines(result.stdout)
    assert result.returncode == 3
    assert failure["source"]["name"] == str(visits / "arm")
    assert (
        failure["error"]
        == f"{visits / 'arm'}: 3 images, but a burst has at most 2: put each lesion into its own folder"
    )
    assert record["burst"]["frames"] == 2
    assert result.stderr.decode().splitlines()[-1] == "spot-edge: 1 of 2 bursts could not be classified completely"


def test_a_broken_image_is_reported_and_left_out(spot_edge, visits, tmp_path) -> None:
    (visits / "arm" / "1.jpg").write_text("<html>")
    out = tmp_path / "kept"
    result = spot_edge("classify", visits, "--burst", "3", "--json", "--save", out)
    first, failure, _ = lines(result.stdout)
    assert result.returncode == 3
    assert first["burst"]["frames"] == 2
    assert failure["source"]["name"] == str(visits / "arm" / "1.jpg")
    assert b"1.jpg: not an image" in result.stderr
    kept = Path(first["source"]["name"])
    assert kept.name in ("0.jpg", "2.jpg")
    assert first.items() < json.loads((out / f"arm__{kept.stem}.json").read_text()).items()
    assert len(list(out.iterdir())) == 4


def test_the_image_that_cannot_be_saved_is_named(start, tmp_path, draw, encode) -> None:
    """It is the sharpest one, and here not the last."""
    for name, flat in (("a", False), ("b", True), ("c", True)):
        pixels = draw(120, 90)
        (tmp_path / f"{name}.png").write_bytes(encode(np.full_like(pixels, 128) if flat else pixels, "PNG"))
    before = """
from spot_edge.commands import records
def fails(*_): raise MemoryError
records._encode = fails
"""
    running = start("classify", tmp_path, "--burst", "3", "--json", "--save", tmp_path / "kept", before=before)
    output, errors = running.communicate()
    (failure,) = lines(output)
    assert (running.returncode, failure["source"]["name"]) == (3, str(tmp_path / "a.png"))
    assert errors.startswith(f"spot-edge: {tmp_path / 'a.png'}: not enough memory".encode())


def test_a_burst_without_a_readable_image_has_no_prediction(spot_edge, visits, tmp_path, lesion) -> None:
    for file in (visits / "arm").iterdir():
        file.write_bytes(b"")
    result = spot_edge("classify", visits / "arm", tmp_path / "gone.jpg", "-", "--burst", "3", "--json", input=lesion)
    records = lines(result.stdout)
    assert result.returncode == 3
    assert [record["error"].split(": ")[-1] for record in records[:4]] == ["empty"] * 3 + ["no such file"]
    assert records[4]["source"] == {"kind": "bytes", "name": "-"}
    assert records[4]["burst"]["frames"] == 1


def test_frames_of_a_camera(spot_edge, visits, tmp_path, classifier) -> None:
    out = tmp_path / "kept"
    result = spot_edge("classify", "--camera", visits, "--burst", "4", "--json", "--save", out, "--heatmap", out)
    (record,) = lines(result.stdout)
    assert (result.returncode, result.stderr) == (0, b"")
    assert record["burst"]["frames"] == 4
    assert (record["source"]["kind"], record["source"]["camera"]) == ("frame", str(visits))
    files = sorted(visits.rglob("*.jpg"))[:4]
    assert record["ranked"] == classifier.classify_burst(files).as_dict()["ranked"]
    assert {path.suffix for path in out.iterdir()} == {".json", ".jpg", ".png"}
    assert len(list(out.iterdir())) == 3
    (shorter,) = lines(spot_edge("classify", "--camera", visits, "--burst", "16", "--json").stdout)
    assert shorter["burst"]["frames"] == 5  # there are no more


def test_one_image_alone_has_no_burst(spot_edge, picture) -> None:
    (record,) = lines(spot_edge("classify", picture, "--json").stdout)
    assert record["burst"] is None


@pytest.mark.parametrize("number", ["0", "1", "17", "many"])
def test_a_burst_has_two_to_sixteen_images(number: str, spot_edge, picture) -> None:
    assert spot_edge("classify", picture, "--burst", number).returncode == 2
    assert spot_edge("kiosk", picture, "--burst", number).returncode == 2
