"""Cameras that cannot be used, each with a reason; which camera is found, and how cameras are listed."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from spot_edge import CameraError
from spot_edge.camera.listing import find_camera, list_cameras
from spot_edge.camera.v4l2 import CAPABILITY


@pytest.mark.parametrize(
    ("where", "number", "message", "transient"),
    [
        ("open", errno.EACCES, "sudo usermod -aG video", False),
        ("open", errno.ENODEV, "unplugged", True),
        ("open", errno.EBUSY, "in use by another program", True),
        ("S_FMT", errno.EBUSY, "in use by another program", True),
        ("REQBUFS", errno.EBUSY, "in use by another program", True),
        ("STREAMON", errno.ENOSPC, "another port", False),
        ("STREAMON", errno.EIO, "does not respond", True),
        ("S_FMT", errno.EINVAL, "refuses its settings", True),  # uvcvideo while a camera is plugged in
        ("QUERYBUF", errno.ENODEV, "unplugged", True),
        ("QUERYCAP", errno.ENOTTY, "not a camera", False),
        ("REQBUFS", errno.ENOMEM, "no memory", False),
        ("REQBUFS", errno.EILSEQ, "scripted", False),
    ],
)
def test_each_error_says_what_to_do(where: str, number: int, message: str, transient: bool, scripted, refused) -> None:
    kernel = scripted()
    kernel.failing = {where: number}
    error = refused(kernel)
    assert message in str(error)
    assert str(error).startswith("/dev/video0: ")
    assert error.transient is transient


@pytest.mark.parametrize(
    ("capabilities", "message"),
    [(0x04800000, "metadata"), (0x04000002, "not a camera"), (0x1, "not a camera"), (0x24000001, "not a camera")],
)
def test_a_node_that_is_not_a_camera(capabilities: int, message: str, scripted, refused) -> None:
    kernel = scripted(capabilities=capabilities)
    assert message in str(refused(kernel))
    assert list_cameras(kernel) == []
    assert find_camera(kernel) is None


def test_a_camera_with_only_other_formats(scripted, refused) -> None:
    assert "offers H264, pRAA, but spot-edge needs MJPG or JPEG or YUYV" in str(refused(scripted(form="H264,pRAA")))
    assert find_camera(scripted(form="H264,pRAA")) is None


def test_a_camera_without_frames_yet(scripted, refused) -> None:
    error = refused(scripted(form=""))
    assert "no frames yet" in str(error)
    assert error.transient


def test_auto_finds_the_camera_and_the_list_shows_its_details(jpeg, warm, scripted, camera, controls) -> None:
    kernel = scripted(*warm, jpeg, form="MJPG,YUYV")
    kernel.controls = controls
    (listed,) = list_cameras(kernel)
    assert (listed.path, listed.name, listed.bus) == ("/dev/video0", "Scope 2", "usb-1.2")
    assert listed.formats == {"MJPG": ("1280x960", "640x480"), "YUYV": ("1280x960", "640x480")}
    assert [control.name for control in listed.controls] == [
        "white-balance-auto", "gain", "exposure-auto", "exposure", "focus", "snapshot-button",
    ]  # fmt: skip
    source = camera(kernel, "auto")
    assert next(source) == jpeg
    assert source.opened == "/dev/video0"


def test_a_camera_that_may_not_be_opened_is_listed_with_the_reason(scripted, camera) -> None:
    kernel = scripted()
    kernel.failing = {"open": errno.EACCES}
    (listed,) = list_cameras(kernel)
    assert "usermod" in str(listed.problem)
    with pytest.raises(CameraError, match="usermod"):
        next(camera(kernel, "auto"))


def test_an_interruption_while_opening_leaves_nothing_open(monkeypatch, scripted, camera) -> None:
    kernel = scripted()
    monkeypatch.setattr(kernel, "map", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(camera(kernel))
    assert kernel.open_handles == 0


def _interrupted(*arguments: Any) -> Callable[[], None]:
    raise KeyboardInterrupt


def test_a_folder_created_while_it_is_opened(tmp_path, jpeg, monkeypatch, scripted, camera) -> None:
    kernel, folder = scripted(), tmp_path / "later"

    def create(path: str) -> int:
        folder.mkdir()
        (folder / "a.jpg").write_bytes(jpeg)
        raise IsADirectoryError(errno.EISDIR, "Is a directory")

    monkeypatch.setattr(kernel, "open", create)
    assert next(camera(kernel, folder)) == jpeg


def test_names_from_a_driver_stay_on_one_line(scripted) -> None:
    kernel = scripted(form="A\nB\x1b")
    kernel.controls = {0x009AFFFF: [4, b"Snap\n\x1b[2J", 0, 0, 0, 0, 0]}
    kernel._QUERYCAP = lambda data: data.__setitem__(
        slice(None), CAPABILITY.pack(b"uvcvideo", b"Scope\n\x1b[2J", b"usb-1.2", 0, 0x80000000, 0x04000001)
    )
    (listed,) = list_cameras(kernel)
    assert listed.name == "Scope\\n\\x1b[2J"
    assert list(listed.formats) == ["A\\nB\\x1b"]
    assert [control.name for control in listed.controls] == ["snap\\n\\x1b[2j"]
