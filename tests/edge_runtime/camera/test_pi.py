"""The Pi's own camera, tested without one: a stand-in that has picamera2's order of colours."""

from __future__ import annotations

import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from spot_edge import Camera, CameraError
from spot_edge.camera.v4l2 import Kernel
from spot_edge.commands.camera import camera
from spot_edge.image.tensor import decode

RED = np.zeros((48, 64, 3), np.uint8) + np.array([250, 10, 20], np.uint8)


class Job:
    def __init__(self, result: Any) -> None:
        self.result = result

    def get_result(self, timeout: float | None = None) -> Any:
        assert timeout is not None
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class Picamera2:
    """The part of picamera2 that is used. Its "BGR888" is R, G, B in memory, its "RGB888" the reverse."""

    infos: tuple[dict[str, str], ...] = ({"Id": "/base/soc/i2c0mux/i2c@1/imx708@1a"},)
    replies: list[Any] = []  # noqa: RUF012
    controls: dict[str, bool] = {}  # noqa: RUF012
    open = 0

    @classmethod
    def global_camera_info(cls) -> list[dict[str, str]]:
        return list(cls.infos)

    def __init__(self) -> None:
        if not self.infos:
            raise IndexError("list index out of range")
        Picamera2.open += 1

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return main

    def configure(self, main: dict[str, Any]) -> None:
        self.reverse = {"BGR888": 1, "RGB888": -1}[main["format"]]

    def start(self) -> None:
        """Do nothing."""

    def capture_array(self, name: str, wait: bool) -> Job:
        assert (name, wait) == ("main", False)
        reply = self.replies.pop(0) if self.replies else RED
        return Job(reply[..., :: self.reverse] if isinstance(reply, np.ndarray) else reply)

    def capture_metadata(self, wait: bool) -> Job:
        assert not wait
        return Job(self.replies.pop(0) if self.replies else {"ExposureTime": 8000})

    def set_controls(self, controls: dict[str, bool]) -> None:
        Picamera2.controls = controls

    def close(self) -> None:
        Picamera2.open -= 1


@pytest.fixture(autouse=True)
def installed(monkeypatch) -> None:
    module = types.ModuleType("picamera2")
    module.__spec__ = ModuleSpec("picamera2", None)
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(Picamera2, "open", 0)
    monkeypatch.setattr(Picamera2, "replies", [])


class NoUsb(Kernel):
    def nodes(self) -> list[str]:
        return []


def test_the_pi_camera_is_found_without_a_usb_camera_and_has_the_right_colours() -> None:
    with Camera(kernel=NoUsb()) as camera:
        picture, _ = decode(next(camera), "pi")
        assert camera.opened == "pi"
    assert picture.getpixel((30, 20)) == pytest.approx((250, 10, 20), abs=3)
    assert Picamera2.open == 0


def test_usb_cameras_listed_by_libcamera_are_not_the_pi_camera(monkeypatch) -> None:
    monkeypatch.setattr(Picamera2, "infos", ({"Id": "/base/scb/pcie@7d500000/usb@0,0-1.2:1.0-046d:0825"},))
    with pytest.raises(CameraError, match="no camera found"):
        next(Camera(kernel=NoUsb()))


def test_the_pi_camera_is_listed(monkeypatch) -> None:
    monkeypatch.setattr(Kernel, "nodes", lambda self: [])
    assert CliRunner().invoke(camera, ["list"]).output == "pi  the Pi camera\n"


def test_a_broken_picamera2_is_reported_only_for_the_name_pi(monkeypatch) -> None:
    monkeypatch.delattr(sys.modules["picamera2"], "Picamera2")
    with pytest.raises(CameraError, match="no camera found"):
        next(Camera(kernel=NoUsb()))
    with pytest.raises(CameraError, match="picamera2 cannot be imported"):
        next(Camera("pi"))


def test_the_pi_camera_can_be_locked() -> None:
    next(Camera("pi", lock=True))
    assert Picamera2.controls == {"AeEnable": False, "AwbEnable": False}


@pytest.mark.parametrize(
    ("reply", "message"), [(TimeoutError(), "no image in time"), (RuntimeError("gone"), "pi: gone: another program")]
)
def test_errors_become_one_line_and_the_camera_reopens(reply: Exception, message: str) -> None:
    Picamera2.replies = [RED] * 8 + [reply]
    camera = Camera("pi")
    with pytest.raises(CameraError, match=message) as caught:
        next(camera)
    assert caught.value.transient
    assert Picamera2.open == 0
    assert next(camera)


def test_frames_can_be_skipped() -> None:
    with Camera("pi") as camera:
        assert camera.skip()
        Picamera2.replies = [TimeoutError()]
        with pytest.raises(CameraError, match="no image in time"):
            camera.skip()
    assert Picamera2.open == 0


def test_a_camera_that_does_not_start_is_closed(monkeypatch) -> None:
    def start(self: Picamera2) -> None:
        raise RuntimeError("Camera frontend has timed out!")

    monkeypatch.setattr(Picamera2, "start", start)
    with pytest.raises(CameraError, match="pi: Camera frontend has timed out!"):
        next(Camera("pi"))
    assert Picamera2.open == 0


def test_no_camera_is_connected(monkeypatch) -> None:
    monkeypatch.setattr(Picamera2, "infos", ())
    with pytest.raises(CameraError, match="pi: list index out of range"):
        next(Camera("pi"))


def test_v4l2_controls_are_rejected() -> None:
    with pytest.raises(CameraError, match="focus cannot be set"):
        next(Camera("pi", controls={"focus": 1}))
