"""A scripted kernel, for faults that no driver makes on demand. Real drivers: make check TARGET=camera-vm."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spot_edge import Camera, CameraError
from spot_edge.camera import camera as camera_module
from spot_edge.camera import device as device_module
from spot_edge.camera import v4l2
from spot_edge.camera.v4l2 import Kernel

NUMBERS = {
    0x80685600: "QUERYCAP",
    0xC0405602: "ENUM_FMT",
    v4l2.FORMAT.number(3, 5): "S_FMT",
    0xC0145608: "REQBUFS",
    v4l2.BUFFER.number(3, 9): "QUERYBUF",
    v4l2.BUFFER.number(3, 15): "QBUF",
    v4l2.BUFFER.number(3, 17): "DQBUF",
    0x40045612: "STREAMON",
    0x40045613: "STREAMOFF",
    0xC0445624: "QUERYCTRL",
    0xC008561B: "G_CTRL",
    0xC008561C: "S_CTRL",
    0xC02C564A: "ENUM_FRAMESIZES",
}


class Clock:
    """Replaces the module `time`. It advances only when something sleeps, so a busy machine changes nothing."""

    def __init__(self) -> None:
        self._now = 1000.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


class Scripted(Kernel):
    """A kernel with one camera, /dev/video0, that sends 30 frames a second by its own clock.

    `frames` scripts what the camera sends (None: no frame arrives); `failing` names the calls that fail.
    """

    def __init__(self, *frames: Any, form: str = "MJPG", capabilities: int = 0x04000001) -> None:
        self.frames, self.form, self.capabilities = list(frames), form, capabilities
        self.clock = Clock()
        self.failing: dict[str, int] = {}
        self.calls: list[str] = []
        self.open_handles = 0
        self.size: tuple[int, int] | None = None
        self.controls: dict[int, list[Any]] = {}  # number → type, name, low, high, step, default, value
        self.jumping: dict[int, tuple[int, int]] = {}  # a control → the one that changes with it, and its new value
        self.queue: list[int] = []
        self.buffers = [bytearray(200_000) for _ in range(4)]

    def nodes(self) -> list[str]:
        return ["/dev/video0"]

    def open(self, path: str) -> int:
        self._may_fail("open")
        self.open_handles += 1
        return 7

    def close(self, handle: int) -> None:
        self.open_handles -= 1

    def map(self, handle: int, length: int, offset: int) -> Any:
        return _Mapped(self.buffers[offset // 4096])

    def wait(self, handle: int, seconds: float) -> bool:
        if self.frames and self.frames[0] is None:
            self.frames.pop(0)
            self.clock.sleep(seconds)
            return False
        return bool(self.frames)

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        name = NUMBERS[request]
        self.calls.append(name)
        self._may_fail(name)
        getattr(self, f"_{name}", lambda data: None)(data)

    def _may_fail(self, name: str) -> None:
        if name in self.failing:
            raise OSError(self.failing[name], "scripted")

    def _QUERYCAP(self, data: bytearray) -> None:  # noqa: N802
        card = (b"uvcvideo", b"Scope 2", b"usb-1.2", 0, 0x80000000, self.capabilities)
        data[:] = v4l2.CAPABILITY.pack(*card)

    def _ENUM_FMT(self, data: bytearray) -> None:  # noqa: N802
        index = struct.unpack_from("I", data)[0]
        offered = [form for form in self.form.split(",") if form]
        if index >= len(offered):
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("4s", data, 44, offered[index].encode())

    def _ENUM_FRAMESIZES(self, data: bytearray) -> None:  # noqa: N802
        index = struct.unpack_from("I", data)[0]
        if index > 1:
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("III", data, 8, 1, *((640, 480), (1280, 960))[index])

    def _S_FMT(self, data: bytearray) -> None:  # noqa: N802
        at = v4l2.FORMAT.size - 200
        width, height = self.size or struct.unpack_from("II", data, at)
        form = bytes(data[at + 8 : at + 12])
        struct.pack_into("II4sII", data, at, width, height, form, 1, 4 * ((width + 1) // 2) if form == b"YUYV" else 0)

    def _REQBUFS(self, data: bytearray) -> None:  # noqa: N802
        self.queue = []

    def _QUERYBUF(self, data: bytearray) -> None:  # noqa: N802
        values = list(struct.unpack(v4l2.BUFFER.fields, data))
        values[-4], values[-3] = 4096 * values[0], 200_000
        data[:] = struct.pack(v4l2.BUFFER.fields, *values)

    def _QBUF(self, data: bytearray) -> None:  # noqa: N802
        self.queue.append(struct.unpack_from("I", data)[0])

    def _DQBUF(self, data: bytearray) -> None:  # noqa: N802
        frame = self.frames.pop(0)
        if isinstance(frame, int):
            raise OSError(frame, "scripted")
        content, flags, age = frame if isinstance(frame, tuple) else (frame, 0x2000, 0.0)
        index = self.queue.pop(0)
        self.buffers[index][: len(content)] = content
        self.clock.sleep(1 / 30)
        taken = self.clock.monotonic() - age
        data[:] = v4l2.BUFFER.pack(index, 1, len(content), flags, 1, int(taken), int(taken % 1 * 1e6))

    def _QUERYCTRL(self, data: bytearray) -> None:  # noqa: N802
        after = struct.unpack_from("I", data)[0] & ~0x80000000
        number = next((n for n in sorted(self.controls) if n > after), None)
        if number is None:
            raise OSError(errno.EINVAL, "no more")
        kind, name, *limits, _ = self.controls[number]
        data[:] = v4l2.CONTROL_INFO.pack(number, kind, name, *limits)

    def _G_CTRL(self, data: bytearray) -> None:  # noqa: N802
        number = struct.unpack_from("I", data)[0]
        struct.pack_into("i", data, 4, self.controls[number][-1])

    def _S_CTRL(self, data: bytearray) -> None:  # noqa: N802
        number, value = struct.unpack("Ii", data)
        self.controls[number][-1] = value
        if number in self.jumping:
            jumps, to = self.jumping[number]
            self.controls[jumps][-1] = to


class _Mapped(bytearray):
    def __init__(self, buffer: bytearray) -> None:
        super().__init__()
        self.buffer = buffer

    def __getitem__(self, part: Any) -> Any:
        return self.buffer[part]

    def close(self) -> None:
        """Do nothing: this stands for an mmap."""


@pytest.fixture(scope="session")
def scripted() -> type[Scripted]:
    """The class `Scripted`."""
    return Scripted


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Camera]:
    """camera(kernel, name, **options): a camera on this scripted kernel and its clock."""

    def make(kernel: Scripted, name: str | Path = "/dev/video0", **options: Any) -> Camera:
        for module in (camera_module, device_module):
            monkeypatch.setattr(module, "time", kernel.clock)
        return Camera(name, kernel=kernel, **{"timeout": 0.2} | options)

    return make


@pytest.fixture
def refused(camera: Callable[..., Camera]) -> Callable[..., CameraError]:
    """refused(kernel, **options): the error that opening the camera raises; nothing may stay open."""

    def refuse(kernel: Scripted, **options: Any) -> CameraError:
        with pytest.raises(CameraError) as caught:
            next(camera(kernel, **options))
        assert "\n" not in str(caught.value)
        assert kernel.open_handles == 0
        return caught.value

    return refuse


@pytest.fixture
def controls() -> dict[int, list[Any]]:
    """Controls for a scripted camera."""
    return {
        0x00980913: [1, b"Gain", 0, 100, 1, 10, 10],
        0x0098090C: [2, b"White Balance, Automatic", 0, 1, 1, 1, 1],
        0x009A0901: [3, b"Auto Exposure", 0, 3, 1, 3, 3],
        0x009A0902: [1, b"Exposure Time, Absolute", 3, 2047, 1, 250, 777],
        0x009A090A: [1, b"Focus, Absolute", 0, 255, 5, 0, 40],
        0x009AFFFF: [4, b"Snapshot Button", 0, 0, 0, 0, 0],
        0x009B0000: [1, b"Something Else", 0, 9, 1, 1, 1],
    }


@pytest.fixture(scope="session")
def jpeg(draw, encode) -> bytes:
    """One JPEG frame."""
    return encode(draw(64, 48), "JPEG")


@pytest.fixture(scope="session")
def numbered(jpeg) -> Callable[[int], bytes]:
    """numbered(number): the frame with this number in a JPEG comment."""
    return lambda number: jpeg[:2] + b"\xff\xfe\x00\x04%02d" % number + jpeg[2:]


@pytest.fixture(scope="session")
def warm(jpeg) -> list[bytes]:
    """The frames that the camera drops while its exposure settles."""
    return [jpeg] * 8
