"""vivid, the kernel's own test camera: raw formats, controls and a metadata node."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from around import cameras, read_on, refused, until

from spot_edge import Camera, CameraError
from spot_edge.camera.v4l2 import Kernel
from spot_edge.image.tensor import decode


def test_the_system_is_the_intended_one() -> None:
    assert platform.machine() == "aarch64"
    assert os.geteuid() == 0


def test_raw_frames_have_the_size_and_colours_of_the_test_pattern(vivid: str) -> None:
    with Camera(vivid, size=(640, 360)) as camera:
        picture, _ = decode(next(camera), vivid)
    assert picture.size == (640, 360)
    bars = [picture.getpixel((40 + 80 * place, 300)) for place in range(8)]
    levels = [tuple(channel > 128 for channel in colour) for colour in bars]  # type: ignore[union-attr]
    white, yellow, cyan, green, magenta, red, blue, black = levels
    assert (white, black) == ((True,) * 3, (False,) * 3)
    assert (yellow, cyan, magenta) == ((True, True, False), (False, True, True), (True, False, True))
    assert (red, green, blue) == ((True, False, False), (False, True, False), (False, False, True))


def test_it_is_listed_with_sizes_and_controls_without_its_metadata_node(vivid: str) -> None:
    listed = cameras("vivid")
    assert len(listed) == 1
    assert any("640x360" in size for size in listed[0].formats["YUYV"])
    assert {"brightness", "gain", "gain-auto", "button"} <= {control.name for control in listed[0].controls}
    others = [node for node in Kernel().nodes() if node != vivid]
    assert others
    for node in others:
        refused(node, "delivers metadata of a camera, not images")


def test_controls_are_set_pressed_locked_and_freed(vivid: str) -> None:
    with Camera(vivid, size=(320, 180), controls={"brightness": 99, "button": None}, lock=True) as camera:
        next(camera)
    now = {control.name: control.value for control in cameras("vivid")[0].controls}
    assert (now["brightness"], now["gain-auto"]) == (99, 0)
    with Camera(vivid, size=(320, 180), lock=False) as camera:
        next(camera)
    assert {control.name: control.value for control in cameras("vivid")[0].controls}["gain-auto"] == 1
    refused(vivid, "brightness must be from 0 to 255, not 999", controls={"brightness": 999})
    refused(vivid, "has no control 'focus'", controls={"focus": 1})


def test_a_camera_in_use_is_reported_and_works_once_it_is_free(vivid: str) -> None:
    second = Camera(vivid, size=(320, 180), timeout=2)
    with Camera(vivid, size=(320, 180)) as first:
        next(first)
        with pytest.raises(CameraError, match="in use by another program") as caught:
            next(second)
        assert caught.value.transient
        assert next(first)
    assert next(second)
    second.close()


def test_the_error_for_a_user_without_permission_names_the_group(vivid: str) -> None:
    os.chmod(vivid, 0o660)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            next(Camera(vivid))
        except CameraError as error:
            os._exit(9 if str(error).startswith(f"{vivid}: no permission: run `sudo usermod -aG video") else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_its_driver_is_unbound_during_the_stream_and_bound_again(vivid: str) -> None:
    driver = Path("/sys/bus/platform/drivers/vivid")
    with Camera(vivid, size=(320, 180), timeout=2) as camera:
        next(camera)
        (driver / "unbind").write_text("vivid.0")
        with pytest.raises(CameraError, match=r"unplugged|no such camera") as caught:
            read_on(camera)
        assert caught.value.transient
        with pytest.raises(CameraError, match="no such camera"):
            next(camera)
        (driver / "bind").write_text("vivid.0")
        until(lambda: cameras("vivid"))
        assert cameras("vivid")[0].path == vivid
        assert next(camera)
