"""What `spot-edge classify` saves to folders: heat maps, and predictions with their images. It overwrites nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def twins(tmp_path: Path, draw, encode) -> Path:
    """Two images of the same name in two folders, rotated by their EXIF and with secrets in their metadata."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "SECRET"
    for folder, picture in (("arm", draw(90, 120)), ("leg", draw(120, 90))):
        (tmp_path / "scans" / folder).mkdir(parents=True)
        (tmp_path / "scans" / folder / "mole.jpg").write_bytes(encode(picture, "JPEG", exif=exif, comment=b"SECRET"))
    return tmp_path / "scans"


def test_a_heat_map_of_each_image(spot_edge, twins, tmp_path) -> None:
    out = tmp_path / "new" / "maps"
    assert spot_edge("classify", twins, "--heatmap", out).returncode == 0
    assert set(contents(out)) == {"arm__mole.heatmap.png", "leg__mole.heatmap.png"}
    for path in out.iterdir():
        assert b"SECRET" not in path.read_bytes()
        with Image.open(path) as image:
            assert image.size == ((120, 90) if "arm" in path.name else (90, 120))
            assert np.ptp(np.asarray(image)) > 50


def test_a_prediction_is_saved_with_its_upright_image(spot_edge, twins, tmp_path, classifier) -> None:
    out = tmp_path / "kept"
    printed = spot_edge("classify", twins / "arm", "--save", out, "--json")
    assert set(contents(out)) == {"mole.json", "mole.jpg"}
    digest = hashlib.sha256((out / "mole.jpg").read_bytes()).hexdigest()
    record = json.loads(printed.stdout) | {"saved_image_sha256": digest}
    assert json.loads((out / "mole.json").read_text()) == record
    assert b"SECRET" not in (out / "mole.jpg").read_bytes()
    with Image.open(out / "mole.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (120, 90))
        assert not dict(image.getexif())
        upright = np.asarray(classifier.prepare(twins / "arm" / "mole.jpg").image).astype(int)
        assert np.abs(np.asarray(image) - upright).mean() < 3


def test_a_second_run_overwrites_nothing(spot_edge, twins, tmp_path) -> None:
    out = tmp_path / "kept"
    assert spot_edge("classify", twins, "--save", out, "--heatmap", out).returncode == 0
    first = contents(out)
    assert len(first) == 6
    assert spot_edge("classify", twins, "--save", out, "--heatmap", out).returncode == 0
    second = contents(out)
    assert len(second) == 12
    assert {name: second[name] for name in first} == first


def test_images_are_not_overwritten_by_their_results(spot_edge, twins) -> None:
    """Results saved next to the images must not take the images' names."""
    folder = twins / "arm"
    original = contents(folder)["mole.jpg"]
    assert spot_edge("classify", folder, "--save", folder).returncode == 0
    assert contents(folder)["mole.jpg"] == original
    assert set(contents(folder)) == {"mole.jpg", "mole-2.jpg", "mole-2.json"}


def test_an_image_that_fails_leaves_no_file(spot_edge, picture, tmp_path) -> None:
    (tmp_path / "bad.png").touch()
    assert spot_edge("classify", tmp_path / "bad.png", picture, "--save", tmp_path / "kept").returncode == 3
    assert set(contents(tmp_path / "kept")) == {"lesion.json", "lesion.jpg"}


def test_standard_input_is_saved_under_a_name(spot_edge, lesion, tmp_path) -> None:
    spot_edge("classify", "-", "--save", tmp_path / "kept", input=lesion)
    assert set(contents(tmp_path / "kept")) == {"stdin.json", "stdin.jpg"}


def test_nothing_is_saved_by_default(spot_edge, picture) -> None:
    spot_edge("classify", picture, cwd=picture.parent)
    assert set(contents(picture.parent)) == {"lesion.png"}


@pytest.mark.parametrize("option", ["--heatmap", "--save"])
def test_a_folder_that_cannot_be_created_exits_with_6(option: str, spot_edge, picture) -> None:
    result = spot_edge("classify", picture, option, picture / "below a file")
    assert (result.returncode, result.stdout) == (6, b"")
    assert b"cannot create this folder" in result.stderr
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("option", ["--heatmap", "--save"])
def test_a_file_in_place_of_a_folder_exits_with_2(option: str, spot_edge, picture) -> None:
    assert spot_edge("classify", picture, option, picture).returncode == 2


def test_a_result_that_cannot_be_written_exits_with_6(spot_edge, picture, tmp_path) -> None:
    kept = Path("/proc/self/fdinfo")
    if not kept.is_dir():
        pytest.skip("NOT RUN: this system has no folder in which even root cannot write")
    result = spot_edge("classify", picture, "--save", kept)
    assert result.returncode == 6
    assert b"cannot be written" in result.stderr
