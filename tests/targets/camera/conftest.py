"""Cameras for the checks, one for each of the kernel's drivers, and the input devices of their keys."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from around import LESION, cameras, modprobe, until
from feeder import LOOP
from usb_camera import UsbCamera


@pytest.fixture(scope="module")
def vivid() -> Iterator[str]:
    """A camera with raw formats and a second node for metadata."""
    modprobe("vivid", "n_devs=1", "node_types=0x20001", "input_types=0")
    until(lambda: cameras("vivid"))
    yield cameras("vivid")[0].path
    modprobe("-r", "vivid")


@pytest.fixture
def loopback() -> Iterator[None]:
    modprobe("v4l2loopback", "video_nr=42", "card_label=Loop")
    until(lambda: os.path.exists(LOOP))
    yield
    modprobe("-r", "v4l2loopback")


@pytest.fixture
def dermatoscope() -> Iterator[UsbCamera]:
    modprobe("vhci-hcd")
    modprobe("uvcvideo")
    camera = UsbCamera(lambda: LESION)
    camera.plug()
    try:
        until(lambda: cameras("Dermatoscope"), 20)
        yield camera
    finally:
        camera.pull()
    until(lambda: not cameras("Dermatoscope"), 20)


@pytest.fixture(scope="session")
def uinput() -> None:
    modprobe("evdev")
    modprobe("uinput")
    until(lambda: os.path.exists("/dev/uinput"))
