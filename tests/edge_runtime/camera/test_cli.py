"""`spot-edge camera` and `classify --camera`, with a folder as the camera, and without any camera."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spot_edge import Camera, CameraError


@pytest.fixture
def folder(tmp_path: Path, draw, encode) -> Path:
    """Two complete images among broken ones, as a camera may send them."""
    folder = tmp_path / "frames"
    folder.mkdir()
    jpeg = encode(draw(120, 90), "JPEG")
    for name, content in {"a.jpg": b"", "b.jpg": jpeg[:-100], "c.jpg": jpeg + bytes(999), "d.png": b"\x89PNG"}.items():
        (folder / name).write_bytes(content)
    (folder / "e.png").write_bytes(encode(draw(100, 80)))
    return folder


@pytest.fixture
def whole(folder: Path) -> bytes:
    return (folder / "c.jpg").read_bytes()[:-999]


@pytest.fixture
def started() -> Callable[..., subprocess.Popen[bytes]]:
    """started(*arguments): `spot-edge camera` as a running process."""

    def start(*arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "spot_edge.cli", "camera", *map(str, arguments)], **options)

    return start


def test_a_folder_is_a_camera_of_its_complete_images(folder: Path, whole: bytes) -> None:
    with Camera(str(folder)) as camera:
        first, second = camera
        assert first == whole
        assert second.startswith(b"\xff\xd8\xff")
        assert next(camera, None) is None
        camera.close()
        assert next(camera) == whole


def test_skipping_drops_no_image_of_a_folder(folder: Path, whole: bytes) -> None:
    with Camera(str(folder)) as camera:
        assert not camera.skip()
        assert next(camera) == whole


def test_a_file_is_a_camera_of_one_image(folder: Path, whole: bytes) -> None:
    assert list(Camera(str(folder / "c.jpg"))) == [whole]
    assert len(list(Camera(str(folder / "e.png"), lock=True))) == 1


@pytest.mark.parametrize("name", ["a.jpg", "b.jpg", "d.png"])
def test_a_file_without_a_complete_image_is_rejected(name: str, folder: Path) -> None:
    with pytest.raises(CameraError, match="contains no complete image"):
        next(Camera(str(folder / name)))


def test_an_image_that_is_too_wide_for_a_jpeg_is_skipped(folder: Path, whole: bytes, encode) -> None:
    (folder / "b.png").write_bytes(encode(np.full((40, 66_000, 3), 200, np.uint8)))
    with Camera(str(folder)) as camera:
        assert next(camera) == whole


def test_an_empty_folder_is_rejected(spot_edge, tmp_path) -> None:
    result = spot_edge("camera", "capture", tmp_path)
    assert (result.returncode, result.stdout) == (9, b"")
    assert result.stderr.decode() == f"spot-edge: {tmp_path}: contains no complete image\n"


def test_capture_saves_the_image_as_the_camera_sent_it(spot_edge, folder, whole, tmp_path) -> None:
    result = spot_edge("camera", "capture", folder, "-o", tmp_path / "kept.jpg")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "kept.jpg").read_bytes() == whole
    assert b"kept.jpg" in result.stdout
    assert spot_edge("camera", "capture", folder, "-o", "-").stdout == whole


def test_capture_names_its_file_by_the_time(spot_edge, folder, tmp_path) -> None:
    (tmp_path / "here").mkdir()
    assert spot_edge("camera", "capture", folder, cwd=tmp_path / "here").returncode == 0
    (name,) = os.listdir(tmp_path / "here")
    assert name.startswith("capture-")


@pytest.mark.parametrize("name", ["none/a.jpg", f"{'x' * 300}.jpg"], ids=["no folder", "too long"])
def test_an_image_that_cannot_be_saved_exits_with_6(name: str, spot_edge, folder, tmp_path) -> None:
    result = spot_edge("camera", "capture", folder, "-o", tmp_path / name)
    assert (result.returncode, result.stderr.count(b"\n")) == (6, 1)


def test_a_full_standard_output_exits_with_6(started, folder) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("NOT RUN: this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        assert started("capture", folder, "-o", "-", stdout=full).wait(60) == 6


def test_preview_shows_rate_sharpness_and_exposure(spot_edge, folder) -> None:
    result = spot_edge("camera", "preview", folder)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.decode().splitlines()
    for word in ("frames/s", "100x80", "kB", "sharpness", "brightness", "too bright 0 %", "too dark 0 %"):
        assert word in line


def test_preview_waits_for_a_missing_camera(spot_edge) -> None:
    result = spot_edge("camera", "preview", "/dev/video-none", "--seconds", "1.2")
    assert (result.returncode, result.stdout) == (0, b"")
    assert result.stderr.decode().count("/dev/video-none: no such camera: plug it in") == 1


def test_ctrl_c_stops_a_preview_cleanly(started) -> None:
    process = started("preview", "/dev/video-none", stderr=subprocess.PIPE)
    assert process.stderr.readline().startswith(b"spot-edge: /dev/video-none: no such camera")
    process.send_signal(signal.SIGINT)
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_preview_exits_on_a_permanent_error(spot_edge, tmp_path) -> None:
    assert spot_edge("camera", "preview", tmp_path).returncode == 9


def test_classify_captures_and_saves_an_image(spot_edge, folder, tmp_path) -> None:
    result = spot_edge("classify", "--camera", folder, "--json", "--save", tmp_path / "kept")
    record = json.loads(result.stdout)
    assert record["source"]["kind"] == "frame"
    assert record["source"]["camera"] == str(folder)
    assert (record["image"]["width"], record["image"]["height"]) == (120, 90)
    names = sorted(path.suffix for path in (tmp_path / "kept").iterdir())
    assert names == [".jpg", ".json"]


def test_a_frame_that_cannot_be_classified_is_reported_as_a_frame(spot_edge, tmp_path, draw, encode) -> None:
    (tmp_path / "small.jpg").write_bytes(encode(draw(20, 20), "JPEG"))
    result = spot_edge("classify", "--camera", tmp_path / "small.jpg", "--json")
    assert result.returncode == 3
    assert json.loads(result.stdout)["source"]["kind"] == "frame"


@pytest.mark.parametrize("arguments", [["capture"], ["list"]])
def test_without_a_camera_one_line_reports_it(arguments, spot_edge) -> None:
    if any(Path("/dev").glob("video*")):
        pytest.skip("NOT RUN: this machine has cameras")
    for result in (spot_edge("camera", *arguments), spot_edge("classify", "--camera")):
        assert (result.returncode, result.stdout) == (9, b"")
        assert result.stderr.startswith(b"spot-edge: no camera found: plug one in")
        assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["camera", "capture", "/dev/null"], "/dev/null: not a camera"),
        (["camera", "capture", "/dev/video-none"], "/dev/video-none: no such camera"),
        (["classify", "--camera", "/dev/null"], "/dev/null: not a camera"),
        (["camera", "capture", "a\nb"], "a\\nb: no such camera"),
        (["camera", "capture", "pi"], "sudo apt install python3-picamera2"),
    ],
)
def test_a_device_that_is_not_a_camera_exits_with_9(arguments, message, spot_edge) -> None:
    result = spot_edge(*arguments)
    assert (result.returncode, result.stdout) == (9, b"")
    assert message in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["camera", "capture", "--size", "big"],
        ["camera", "capture", "--size", "0x480"],
        ["camera", "capture", "--set", "focus=near"],
        ["camera", "capture", "--timeout", "0"],
        ["classify", "--camera", "auto", "a.jpg"],
        ["classify"],
    ],
)
def test_a_wrong_command_line_exits_with_2(arguments, spot_edge) -> None:
    assert spot_edge(*arguments).returncode == 2
