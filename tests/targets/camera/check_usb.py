"""uvcvideo: a USB Video Class device that the test implements (usb_camera.py)."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from around import LESION, cameras, read_on, refused, until
from PIL import Image
from usb_camera import EXPOSURE, EXPOSURE_AUTO, FOCUS, FOCUS_AUTO, WHITE_BALANCE, WHITE_BALANCE_AUTO, UsbCamera

from spot_edge import Camera, CameraError


def test_auto_selects_a_usb_camera_and_its_frames_arrive_byte_for_byte(vivid: str, dermatoscope: UsbCamera) -> None:
    with Camera() as camera:
        assert [next(camera) for _ in range(5)] == [LESION] * 5
        assert camera.opened == cameras("Dermatoscope")[0].path


def test_it_is_listed_and_its_metadata_node_is_not(dermatoscope: UsbCamera) -> None:
    (listed,) = cameras("Dermatoscope")
    assert listed.bus.startswith("usb-")
    assert listed.formats == {"MJPG": ("640x480", "320x240")}
    assert {"focus", "focus-auto", "exposure", "exposure-auto", "white-balance", "white-balance-auto"} <= {
        control.name for control in listed.controls
    }
    name = Path("/sys/class/video4linux") / Path(listed.path).name / "name"
    siblings = [node for node in name.parent.parent.iterdir() if (node / "name").read_text() == name.read_text()]
    assert len(siblings) == 2
    for sibling in siblings:
        if sibling.name != Path(listed.path).name:
            refused(f"/dev/{sibling.name}", "metadata")


def test_focus_exposure_and_white_balance_of_a_usb_camera(dermatoscope: UsbCamera) -> None:
    with Camera(lock=True) as camera:
        next(camera)
    held = {name: control[5] for name, control in dermatoscope.controls.items()}
    assert (held[EXPOSURE_AUTO], held[FOCUS_AUTO], held[WHITE_BALANCE_AUTO]) == (1, 0, 0)
    assert (held[EXPOSURE], held[FOCUS], held[WHITE_BALANCE]) == (777, 40, 5100)
    with Camera(lock=False, controls={"focus": 55}) as camera:
        next(camera)
    free = {name: control[5] for name, control in dermatoscope.controls.items()}
    assert (free[EXPOSURE_AUTO], free[FOCUS], free[WHITE_BALANCE_AUTO]) == (8, 55, 1)


def test_broken_frames_of_a_usb_camera(dermatoscope: UsbCamera) -> None:
    script = [LESION[:-2], b"", LESION + bytes(5000), LESION[:100]]
    turn = iter(range(10**6))
    dermatoscope.frame = lambda: script[next(turn) % len(script)]
    with Camera() as camera:
        assert [next(camera) for _ in range(4)] == [LESION] * 4


def test_a_usb_camera_pulled_during_a_frame_and_plugged_in_again(dermatoscope: UsbCamera) -> None:
    with Camera(cameras("Dermatoscope")[0].path, timeout=3) as camera:
        next(camera)
        dermatoscope.pull()
        start = time.monotonic()
        with pytest.raises(CameraError) as caught:
            read_on(camera)
        assert caught.value.transient
        assert time.monotonic() - start < 8
        until(lambda: not cameras("Dermatoscope"))
        with pytest.raises(CameraError):
            next(camera)
        dermatoscope.plug()
        until(lambda: cameras("Dermatoscope"), 20)
        assert next(camera) == LESION


def test_a_usb_camera_that_stops_sending(dermatoscope: UsbCamera) -> None:
    with Camera(timeout=1.5) as camera:
        next(camera)
        dermatoscope.frame = lambda: None
        with pytest.raises(CameraError, match="no image within"):
            read_on(camera)
        dermatoscope.frame = lambda: LESION
        assert next(camera) == LESION


def test_a_picture_decodes_to_what_was_sent(dermatoscope: UsbCamera) -> None:
    with Camera() as camera, Image.open(io.BytesIO(next(camera))) as taken, Image.open(io.BytesIO(LESION)) as sent:
        assert taken.tobytes() == sent.tobytes()
