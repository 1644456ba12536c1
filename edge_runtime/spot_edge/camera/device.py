"""A streaming V4L2 camera: MJPEG if possible, else YUYV."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from spot_edge.camera import v4l2
from spot_edge.camera.controls import lock, press_or_set, unlock
from spot_edge.camera.frames import complete_jpeg, encode
from spot_edge.camera.listing import FORMATS, check_is_camera, formats
from spot_edge.camera.v4l2 import Kernel, ask, camera_errors
from spot_edge.errors import CameraError

__all__ = ["Device"]

_CAPTURE, _MAPPED, _PROGRESSIVE = 1, 1, 1  # V4L2 buffer type, memory and field
_BUFFERS = 4
_MOST_BUFFERS = 64  # twice the limit in the kernel
_MOST_YUYV = 14_000_000  # pixels: each takes 66 bytes during the conversion to RGB
_DAMAGED, _MONOTONIC = 0x40, 0x2000  # flags of a buffer
_OLDEST = 0.5  # seconds: older frames waited in the buffers while nobody read them
_SPIN = 0.01


class Device:
    """The camera at `path`, streaming at about `size`. Raises CameraError if it cannot."""

    live = True

    def __init__(self, path: str, size: tuple[int, int], controls: Mapping[str, int | None], kernel: Kernel) -> None:
        self.name = path
        self._kernel, self._maps, self._handle = kernel, list[Any](), -1
        with camera_errors(path):
            self._handle = kernel.open(path)
        try:
            with camera_errors(path):
                check_is_camera(kernel, self._handle, path)
                self._agree_on(*size)
                for name, value in controls.items():
                    press_or_set(kernel, self._handle, path, name, value)
                self._start()
        except BaseException:
            self.close()
            raise

    def _agree_on(self, width: int, height: int) -> None:
        offered = formats(self._kernel, self._handle)
        if not offered:
            raise CameraError(
                f"{self.name}: no frames yet. Is the program that feeds this device running?", transient=True
            )
        wanted = next((form for form in FORMATS if form in offered), None)
        if wanted is None:
            raise CameraError(f"{self.name}: offers {', '.join(offered)}, but spot-edge needs {' or '.join(FORMATS)}")
        asked = (_CAPTURE, width, height, offered[wanted], _PROGRESSIVE)
        answer = ask(self._kernel, self._handle, v4l2.FORMAT, 3, 5, *asked)
        _, width, height, code, _, stride, _, colorspace, _, _, encoding, quantization, _ = answer
        if v4l2.fourcc(code) not in FORMATS:
            raise CameraError(f"{self.name}: delivers {v4l2.fourcc(code)}, although it offered {wanted}")
        self._yuyv = None
        if v4l2.fourcc(code) == "YUYV":
            if not 0 < width * height <= _MOST_YUYV:
                raise CameraError(f"{self.name}: delivers YUYV of {width}x{height} pixels: try another --size")
            from spot_edge.camera.frames import Yuyv

            self._yuyv = Yuyv(width, height, stride, colorspace, encoding, quantization)

    def _start(self) -> None:
        kernel, handle = self._kernel, self._handle
        count = ask(kernel, handle, v4l2.REQUEST_BUFFERS, 3, 8, _BUFFERS, _CAPTURE, _MAPPED)[0]
        if not 1 <= count <= _MOST_BUFFERS:
            raise CameraError(f"{self.name}: offers {count} buffers")
        for index in range(count):
            answer = ask(kernel, handle, v4l2.BUFFER, 3, 9, *_buffer(index))
            offset, length = answer[-4] & 0xFFFFFFFF, answer[-3]  # only the first four bytes of the union are set
            if not length:
                raise CameraError(f"{self.name}: offers empty buffers")
            self._maps.append(kernel.map(handle, length, offset))
            self._queue(index)
        ask(kernel, handle, v4l2.STREAM, 1, 18, _CAPTURE)

    def lock(self, locked: bool) -> None:
        """Lock focus, exposure and white balance, or make them automatic again."""
        with camera_errors(self.name):
            (lock if locked else unlock)(self._kernel, self._handle, self.name)

    def read(self, deadline: float) -> bytes:
        """Return the next complete image as a JPEG, waiting until `deadline` of the monotonic clock."""
        asked = time.monotonic()
        seen = "nothing arrived"
        while True:
            with camera_errors(self.name):
                taken = self._dequeue(deadline)
                if taken is None:
                    raise self._silent(deadline - asked, seen)
                index, used, flags, stamp = taken
                data = bytes(self._maps[index][:used])
                self._queue(index)
            try:
                if flags & _MONOTONIC and stamp < asked - _OLDEST:
                    continue
                if flags & _DAMAGED:
                    raise ValueError("damaged in transfer")
                return encode(self._yuyv.to_rgb(data)) if self._yuyv else complete_jpeg(data)
            except ValueError as error:
                seen = f"the last frame: {error}"

    def skip(self, deadline: float) -> None:
        """Drop the next frame."""
        asked = time.monotonic()
        with camera_errors(self.name):
            taken = self._dequeue(deadline)
            if taken is None:
                raise self._silent(deadline - asked, "nothing arrived")
            self._queue(taken[0])

    def _silent(self, seconds: float, seen: str) -> CameraError:
        waited = f"{self.name}: no image within {max(0.0, seconds):.1f} s ({seen})"
        return CameraError(f"{waited}: unplug the camera and plug it in again", transient=True)

    def _dequeue(self, deadline: float) -> tuple[int, int, int, float] | None:
        """Index, length, flags and time of a filled buffer, or None if `deadline` passes first."""
        while (left := deadline - time.monotonic()) > 0 and self._kernel.wait(self._handle, left):
            try:
                answer = ask(self._kernel, self._handle, v4l2.BUFFER, 3, 17, *_buffer(0))
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                time.sleep(_SPIN)  # an error without a frame: do not poll without a pause
                continue
            index, _, used, flags, _, seconds, micros = answer[:7]
            if index >= len(self._maps):
                raise CameraError(f"{self.name}: delivers an image in an unknown buffer", transient=True)
            return index, used, flags, seconds + micros / 1e6
        return None

    def _queue(self, index: int) -> None:
        ask(self._kernel, self._handle, v4l2.BUFFER, 3, 15, *_buffer(index))

    def close(self) -> None:
        """Stop streaming and close the camera. Safe to call after a failure."""
        if self._handle < 0:
            return
        with suppress(OSError):
            ask(self._kernel, self._handle, v4l2.STREAM, 1, 19, _CAPTURE)
        for buffer in self._maps:
            buffer.close()
        self._maps = []
        with suppress(OSError):
            self._kernel.close(self._handle)
        self._handle = -1


def _buffer(index: int) -> tuple[Any, ...]:
    """The first fields of a `v4l2_buffer`, up to its memory."""
    return (index, _CAPTURE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b"", 0, _MAPPED)
