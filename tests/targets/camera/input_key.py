"""A virtual input device, through the kernel's uinput: keys that the test presses."""

from __future__ import annotations

import fcntl
import os
import struct
import time

__all__ = ["CAMERA", "CAMERA_FOCUS", "SPACE", "InputKey", "Q"]

CAMERA, CAMERA_FOCUS, SPACE, Q = 0xD4, 0x210, 57, 16
_SET_TYPE, _SET_KEY, _SETUP, _CREATE, _DESTROY = 0x40045564, 0x40045565, 0x405C5503, 0x5501, 0x5502
_SYNC, _KEY, _REPEAT = 0, 1, 0x14


class InputKey:
    """A device with these `keys`, plugged in until `pull`. The kernel repeats a held key."""

    def __init__(self, *keys: int) -> None:
        self._handle = os.open("/dev/uinput", os.O_WRONLY)
        for kind in (_KEY, _REPEAT):
            fcntl.ioctl(self._handle, _SET_TYPE, kind)
        for key in keys:
            fcntl.ioctl(self._handle, _SET_KEY, key)
        fcntl.ioctl(self._handle, _SETUP, struct.pack("4H80sI", 3, 0x1D6B, 0x0102, 1, b"spot-edge", 0))
        fcntl.ioctl(self._handle, _CREATE)

    def press(self, key: int, seconds: float = 0.05) -> None:
        """Hold `key` for `seconds`."""
        for value in (1, 0):
            for kind, code, what in ((_KEY, key, value), (_SYNC, 0, 0)):
                os.write(self._handle, struct.pack("llHHi", 0, 0, kind, code, what))
            time.sleep(seconds)

    def pull(self) -> None:
        """Unplug the device."""
        fcntl.ioctl(self._handle, _DESTROY)
        os.close(self._handle)
