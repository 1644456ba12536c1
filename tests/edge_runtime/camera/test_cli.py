"""`spot-edge camera` and `classify --camera`, with a folder as the camera, and where there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spot_edge import Camera, CameraError


@pytest.fixture
def folder(tmp_path: Path, draw, encode) -> Path:
    """Two whole pictures among what a camera sends besides."""
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
    """started(*arguments): `spot-edge camera` as a process that runs."""

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


def test_the_images_of_a_folder_do_not_go_by(folder: Path, whole: bytes) -> None:
    with Camera(str(folder)) as camera:
        assert not camera.skip()
        assert next(camera) == whole


def test_a_file_is_a_camera_of_one_image(folder: Path, whole: bytes) -> None:
    assert list(Camera(str(folder / "c.jpg"))) == [whole]
    assert len(list(Camera(str(folder / "e.png"), lock=True))) == 1


@pytest.mark.parametrize("name", ["a.jpg", "b.jpg", "d.png"])
def test_images_that_are_not_complete_are_no_camera(name: str, folder: Path) -> None:
    with pytest.raises(CameraError, match="contains no complete image"):
        next(Camera(str(folder / name)))


def test_an_empty_folder_is_no_camera(spot_edge, tmp_path) -> None:
    ended = spot_edge("camera", "capture", tmp_path)
    assert (ended.returncode, ended.stdout) == (9, b"")
    assert ended.stderr.decode() == f"spot-edge: {tmp_path}: contains no complete image\n"


def test_capture_keeps_an_image_as_the_camera_sent_it(spot_edge, folder, whole, tmp_path) -> None:
    ended = spot_edge("camera", "capture", folder, "-o", tmp_path / "kept.jpg")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "kept.jpg").read_bytes() == whole
    assert b"kept.jpg" in ended.stdout
    assert spot_edge("camera", "capture", folder, "-o", "-").stdout == whole


def test_capture_names_its_file_by_the_time(spot_edge, folder, tmp_path) -> None:
    (tmp_path / "here").mkdir()
    assert spot_edge("camera", "capture", folder, cwd=tmp_path / "here").returncode == 0
    (name,) = os.listdir(tmp_path / "here")
    assert name.startswith("capture-")


def test_an_image_that_cannot_be_kept_ends_with_6(spot_edge, folder, tmp_path) -> None:
    ended = spot_edge("camera", "capture", folder, "-o", tmp_path / "none" / "a.jpg")
    assert ended.returncode == 6


def test_an_image_for_which_standard_output_has_no_room_ends_with_6(started, folder) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("NOT RUN: this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        assert started("capture", folder, "-o", "-", stdout=full).wait(60) == 6


def test_preview_says_rate_sharpness_and_light(spot_edge, folder) -> None:
    ended = spot_edge("camera", "preview", folder)
    assert ended.returncode == 0, ended.stderr
    (line,) = ended.stdout.decode().splitlines()
    for word in ("frames/s", "100x80", "kB", "sharpness", "brightness", "too bright 0 %", "too dark 0 %"):
        assert word in line


def test_preview_waits_for_a_camera_that_is_not_there_yet(spot_edge) -> None:
    ended = spot_edge("camera", "preview", "/dev/video-none", "--seconds", "1.2")
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert ended.stderr.decode().count("/dev/video-none: no such camera: plug it in") == 1


def test_ctrl_c_ends_a_preview_well(started) -> None:
    process = started("preview", "/dev/video-none", stderr=subprocess.PIPE)
    assert process.stderr.readline().startswith(b"spot-edge: /dev/video-none: no such camera")
    process.send_signal(signal.SIGINT)
    assert (process.wait(60), process.stderr.read()) == (0, b"")
    process.stderr.close()


def test_preview_does_not_wait_for_what_will_not_pass(spot_edge, tmp_path) -> None:
    assert spot_edge("camera", "preview", tmp_path).returncode == 9


def test_classify_takes_and_keeps_an_image_of_the_camera(spot_edge, folder, tmp_path) -> None:
    ended = spot_edge("classify", "--camera", folder, "--json", "--save", tmp_path / "kept")
    answer = json.loads(ended.stdout)
    assert answer["source"]["kind"] == "frame"
    assert answer["source"]["camera"] == str(folder)
    assert (answer["image"]["width"], answer["image"]["height"]) == (120, 90)
    names = sorted(path.suffix for path in (tmp_path / "kept").iterdir())
    assert names == [".jpg", ".json"]


def test_a_frame_that_cannot_be_classified_is_reported_as_one(spot_edge, tmp_path, draw, encode) -> None:
    (tmp_path / "small.jpg").write_bytes(encode(draw(20, 20), "JPEG"))
    ended = spot_edge("classify", "--camera", tmp_path / "small.jpg", "--json")
    assert ended.returncode == 3
    assert json.loads(ended.stdout)["source"]["kind"] == "frame"


@pytest.mark.parametrize("arguments", [["capture"], ["list"]])
def test_without_a_camera_one_line_says_so(arguments, spot_edge) -> None:
    if any(Path("/dev").glob("video*")):
        pytest.skip("NOT RUN: this machine has cameras")
    for ended in (spot_edge("camera", *arguments), spot_edge("classify", "--camera")):
        assert (ended.returncode, ended.stdout) == (9, b"")
        assert ended.stderr.startswith(b"spot-edge: no camera found: plug one in")
        assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["camera", "capture", "/dev/null"], "/dev/null: not a camera"),
        (["camera", "capture", "/dev/video-none"], "/dev/video-none: no such camera"),
        (["classify", "--camera", "/dev/null"], "/dev/null: not a camera"),
        (["camera", "capture", "a\nb"], "a\\nb: no such camera"),
        (["camera", "capture", "pi"], "sudo apt install python3-picamera2"),
    ],
)
def test_what_is_no_camera_ends_with_9(arguments, said, spot_edge) -> None:
    ended = spot_edge(*arguments)
    assert (ended.returncode, ended.stdout) == (9, b"")
    assert said in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1


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
def test_a_wrong_command_line_ends_with_2(arguments, spot_edge) -> None:
    assert spot_edge(*arguments).returncode == 2
