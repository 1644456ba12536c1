"""The replies of a camera's driver: a kernel that replies with the fuzzed bytes to every request."""

from __future__ import annotations

import itertools
import os
from typing import Any

from fuzzed.refusals import refused_well
from spot_edge import Camera
from spot_edge.camera.button import presses
from spot_edge.camera.listing import list_cameras
from spot_edge.camera.v4l2 import Kernel
from spot_edge.errors import CameraError

LONGEST = 8192
WORDS = (
    b"MJPG",
    b"YUYV",
    b"JPEG",
    b"H264",
    b"uvcvideo",
    b"unicam",
    b"\x01\0\0\x04",
    b"\0\0\0\x80",
    b"\xff\xff\xff\xff",
)
PATH = "/dev/video0"
LARGEST_BUFFER = 4096


class Replies(Kernel):
    """One camera. For each call the data has a byte: 0, then the reply, or the number of an error."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self.open_handles = 0

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken.ljust(size, b"\0")

    def _may_fail(self) -> None:
        number = self.take(1)[0] if self._at < len(self._data) else 19  # at the end of the data: unplugged
        if number:
            raise OSError(number, os.strerror(number))

    def nodes(self) -> list[str]:
        return [PATH]

    def open(self, path: str) -> int:
        self._may_fail()
        self.open_handles += 1
        return 7

    def close(self, handle: int) -> None:
        self.open_handles -= 1

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        self._may_fail()
        data[:] = self.take(len(data))

    def map(self, handle: int, length: int, offset: int) -> Any:
        self._may_fail()
        return _Mapped(self.take(int.from_bytes(self.take(2), "little") % LARGEST_BUFFER))

    def wait(self, handle: int, seconds: float) -> bool:
        return self.take(1)[0] == 0 and self._at < len(self._data)


class _Mapped(bytes):
    def close(self) -> None:
        """Do nothing: this stands for an mmap."""


def run(data: bytes) -> None:
    """List cameras, set a control, take images with the controls locked or free, and read the button."""
    choice, kernel = data[:1], Replies(data[1:])
    presses(data)
    if choice < b"\x40":
        with refused_well(CameraError):
            for listed in list_cameras(kernel):
                assert "\n" not in f"{listed.name}{listed.bus}{listed.formats}{listed.controls}"
                if listed.problem:
                    raise listed.problem
    else:
        lock = {0: None, 1: True, 2: False}[choice[0] % 3] if choice else None
        controls = {"focus": 40} if choice >= b"\x80" else {}
        with (
            refused_well(CameraError),
            Camera("auto", kernel=kernel, timeout=0.02, controls=controls, lock=lock) as camera,
        ):
            for _ in itertools.islice(camera, 2):
                camera.skip()
    assert kernel.open_handles == 0
