"""A virtual USB camera. It speaks USB/IP to the kernel's virtual host controller, so that uvcvideo drives it.

The test decides what it sends: images, broken ones, or nothing. It can also press its button and pull its cable.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["UsbCamera"]

ATTACH = Path("/sys/devices/platform/vhci_hcd.0/attach")
PAYLOAD = 16384  # bytes of a bulk transfer
HIGH_SPEED = 3
SIZES = ((640, 480), (320, 240))
CAMERA, PROCESSING = 1, 2  # the units that the controls address
EXPOSURE_AUTO, EXPOSURE, FOCUS, FOCUS_AUTO = (CAMERA, 2), (CAMERA, 4), (CAMERA, 6), (CAMERA, 8)
BRIGHTNESS, WHITE_BALANCE, WHITE_BALANCE_AUTO = (PROCESSING, 2), (PROCESSING, 10), (PROCESSING, 11)

Reply = bytes | None  # None rejects the request


class UsbCamera:
    """A camera at the virtual `port`: `plug` plugs it in, `pull` pulls it, and `frame` returns the next frame."""

    def __init__(self, frame: Callable[[], bytes | None], port: int = 0) -> None:
        self.frame, self._port = frame, port
        self.controls = {  # (unit, selector) → bytes, minimum, maximum, step, default, value
            EXPOSURE_AUTO: [1, 1, 8, 9, 8, 8],  # a set of bits: manual 1, aperture priority 8
            EXPOSURE: [4, 3, 2047, 1, 250, 777],
            FOCUS: [2, 0, 255, 5, 0, 40],
            FOCUS_AUTO: [1, 0, 1, 1, 1, 1],
            BRIGHTNESS: [2, 0, 255, 1, 128, 128],
            WHITE_BALANCE: [2, 2800, 6500, 10, 4600, 5100],
            WHITE_BALANCE_AUTO: [1, 0, 1, 1, 1, 1],
        }

    def plug(self) -> None:
        """Appear on the bus."""
        self._socket, theirs = socket.socketpair()
        self._waiting: list[int] = []  # transfers of the driver, to be filled with frames
        self._to_press: list[int] = []  # transfers to be filled when the button is pressed or released
        self._lock, self._out = threading.Lock(), threading.Lock()
        self._probe = self._chosen(1)
        threading.Thread(target=self._serve, daemon=True).start()
        threading.Thread(target=self._stream, daemon=True).start()
        ATTACH.write_text(f"{self._port} {theirs.fileno()} 65538 {HIGH_SPEED}")
        theirs.close()

    @property
    def button_polled(self) -> bool:
        """Whether the driver waits for the button, as it does while a program has the camera open."""
        return bool(self._to_press)

    def press(self, down: bool) -> None:
        """Press the button on the handle, or release it."""
        with self._lock:
            self._reply(self._to_press.pop(0), bytes([2, 1, 0, down]))  # from interface 1, the stream: event 0

    def pull(self) -> None:
        """Disappear from the bus."""
        with suppress(OSError):  # pulled already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                command, number, _, direction, endpoint = struct.unpack(">5I", self._take(20))
                rest = self._take(28)
                if command == 2:  # unlink
                    with self._lock:
                        mine = struct.unpack_from(">I", rest)[0]
                        found = [waiting for waiting in (self._waiting, self._to_press) if mine in waiting]
                        for waiting in found:
                            waiting.remove(mine)
                        self._send(struct.pack(">5Ii24x", 4, number, 0, 0, 0, -104 if found else 0))
                    continue
                length = struct.unpack_from(">i", rest, 4)[0]
                data = self._take(length) if direction == 0 else b""
                if endpoint == 0:
                    reply = self._control(rest[20:28], data)
                    status = -32 if reply is None else 0
                    self._reply(number, (reply or b"")[:length] if direction else b"", status, len(data))
                else:
                    with self._lock:
                        (self._waiting if endpoint == 1 else self._to_press).append(number)

    def _stream(self) -> None:
        """Fill the waiting transfers: a frame every 50 ms, with a header of two bytes before each payload."""
        parity = 0
        with suppress(OSError):
            while self._socket.fileno() >= 0:
                time.sleep(0.05)
                frame = self.frame() if self._waiting else None
                if frame is None:
                    continue
                parts = [frame[at : at + PAYLOAD - 2] for at in range(0, len(frame), PAYLOAD - 2)] or [b""]
                parity ^= 1
                for place, part in enumerate(parts):
                    last = 2 if place == len(parts) - 1 else 0
                    if not self._fill(bytes([2, 0x80 | last | parity]) + part):
                        break

    def _fill(self, payload: bytes) -> bool:
        """Fill a waiting transfer, or one that arrives within a second.

        This holds the lock, because no transfer may be filled after it is unlinked.
        """
        for _ in range(100):
            with self._lock:
                if self._waiting:
                    self._reply(self._waiting.pop(0), payload)
                    return True
            time.sleep(0.01)
        return False

    def _control(self, setup: bytes, data: bytes) -> Reply:
        kind, request, value, index, _ = struct.unpack("<BBHHH", setup)
        if kind & 0x60 == 0:  # a standard request
            if request != 6:
                return b"\0\0"
            return {1: DEVICE, 2: configuration(), 3: text(value & 255)}.get(value >> 8)
        unit, interface = index >> 8, index & 255
        if interface == 1:
            if request == 1:
                self._probe = self._chosen(data[3])
            return {0x86: b"\x03", 0x85: b"\x1a\0"}.get(request, self._probe)
        control = self.controls.get((unit, value >> 8))
        if control is None:
            return None
        size, low, high, step, default, now = control
        if request == 1:
            control[5] = int.from_bytes(data, "little")
            if control is self.controls[EXPOSURE_AUTO]:
                self.controls[EXPOSURE][5] = 250  # like cameras that forget their automatic value when they are locked
            return b""
        if request in (0x85, 0x86):
            return size.to_bytes(2, "little") if request == 0x85 else b"\x0b"  # it also changes by itself
        chosen = {0x81: now, 0x82: low, 0x83: high, 0x84: step, 0x87: default}[request]
        return chosen.to_bytes(size, "little")

    def _chosen(self, frame: int) -> bytes:
        frame = min(max(frame, 1), len(SIZES))
        width, height = SIZES[frame - 1]
        return struct.pack("<HBBI10xII", 1, 1, frame, 500_000, width * height * 2, PAYLOAD)

    def _take(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            part = self._socket.recv(length - len(found))
            if not part:
                raise EOFError
            found += part
        return found

    def _reply(self, number: int, data: bytes, status: int = 0, written: int = 0) -> None:
        actual = len(data) or written
        self._send(struct.pack(">5IiiiiI8x", 3, number, 0, 0, 0, status, actual, 0, 0, 0) + data)

    def _send(self, data: bytes) -> None:
        with self._out:
            self._socket.sendall(data)


DEVICE = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0100, 1, 2, 0, 1)


def text(index: int) -> bytes:
    """The string descriptor `index`."""
    if index == 0:
        return b"\x04\x03\x09\x04"
    string = {1: "spot-edge", 2: "Drawn Dermatoscope"}.get(index, "?").encode("utf-16-le")
    return bytes([2 + len(string), 3]) + string


def configuration() -> bytes:
    """Describe a camera of USB Video Class 1.0: one control interface, and one that streams MJPEG in bulk.

    The control interface also reports the button, as a trigger for general use.
    """
    units = b"".join(
        [
            # input terminal 1: a camera; exposure mode and time, focus, automatic focus
            struct.pack("<BBBBHBBHHHB3s", 18, 0x24, 2, CAMERA, 0x0201, 0, 0, 0, 0, 0, 3, b"\x2a\x00\x02"),
            # processing unit 2: brightness, white balance and its automatic mode
            struct.pack("<BBBBBHB2sB", 11, 0x24, 5, PROCESSING, CAMERA, 0, 2, b"\x41\x10", 0),
            # output terminal 3: the USB stream
            struct.pack("<BBBBHBBB", 9, 0x24, 3, 3, 0x0101, 0, PROCESSING, 0),
        ]
    )
    control = struct.pack("<BBBHHIBB", 13, 0x24, 1, 0x0100, 13 + len(units), 48_000_000, 1, 1) + units
    frames = b"".join(_frames())
    inputs = struct.pack("<BBBBHBBBBBBBB", 14, 0x24, 1, 1, 14 + 11 + len(frames), 0x81, 0, 3, 0, 1, 1, 1, 0)
    streaming = inputs + struct.pack("<11B", 11, 0x24, 6, 1, len(SIZES), 1, 1, 0, 0, 0, 0) + frames
    body = b"".join(
        [
            struct.pack("<8B", 8, 11, 0, 2, 0x0E, 3, 0, 0),  # the two interfaces belong together
            struct.pack("<9B", 9, 4, 0, 0, 1, 0x0E, 1, 0, 0),
            control,
            struct.pack("<BBBBHB", 7, 5, 0x82, 3, 16, 8),
            struct.pack("<BBBH", 5, 0x25, 3, 16),
            struct.pack("<9B", 9, 4, 1, 0, 1, 0x0E, 2, 0, 0),
            streaming,
            struct.pack("<BBBBHB", 7, 5, 0x81, 2, 512, 0),
        ]
    )
    return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 2, 1, 0, 0x80, 50) + body


def _frames() -> Iterator[bytes]:
    for number, (width, height) in enumerate(SIZES, 1):
        yield struct.pack(
            "<BBBBBHHIIIIBI", 30, 0x24, 7, number, 0, width, height, 1, 2, 2 * width * height, 500_000, 1, 500_000
        )
