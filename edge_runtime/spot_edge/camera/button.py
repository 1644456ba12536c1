"""The trigger on a camera's handle. Linux makes it a key, KEY_CAMERA, of an input device of its own, read by evdev.

Other keys are left alone: those that a foot switch sends as a keyboard (Enter, space) reach the terminal anyway, and
KEY_CAMERA_FOCUS is a trigger pressed half way.
"""

from __future__ import annotations

import os
import struct
import time
from types import TracebackType

__all__ = ["EVENT", "Buttons", "presses"]

# struct input_event: seconds, microseconds, type, code, value. Times take 16 bytes on 64-bit systems, 8 on 32-bit ones.
EVENT = struct.Struct("llHHi")
_KEY, _KEY_CAMERA = 1, 0xD4
_DOWN = 1  # 0: let go; 2: held, and repeated by the kernel
_KEY_BYTES = 96  # a bit for each key that an input device may have
_KEYS_OF = 2 << 30 | _KEY_BYTES << 16 | ord("E") << 8 | 0x20 + _KEY  # the ioctl EVIOCGBIT
_LOOK_EVERY = 1.0  # seconds


def presses(data: bytes, event: struct.Struct = EVENT) -> int:
    """How often the trigger was pressed in these events."""
    whole = data[: len(data) // event.size * event.size]
    return sum((kind, code, value) == (_KEY, _KEY_CAMERA, _DOWN) for *_, kind, code, value in event.iter_unpack(whole))


class Buttons:
    """Every trigger that this system has, as they come and go."""

    def __init__(self, folder: str = "/dev/input") -> None:
        self.closed: tuple[str, ...] = ()  # devices that may be triggers, but are not for us to read
        self._folder, self._next_look = folder, 0.0
        self._handles: list[int] = []
        self._known: set[tuple[str, int]] = set()  # path and inode: a number is given anew when a device is plugged
        self._refused: set[tuple[str, int]] = set()

    def __enter__(self) -> Buttons:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            os.close(handle)
        self._handles = []

    def look(self) -> list[int]:
        """The handles to wait for, after a look, once a second, for triggers that were plugged in."""
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_EVERY
            self._find()
        return self._handles

    def pressed(self) -> bool:
        """Whether a trigger was pressed since this was last asked."""
        return sum([self._presses(handle) for handle in list(self._handles)]) > 0

    def _find(self) -> None:
        try:
            with os.scandir(self._folder) as entries:
                there = {(entry.path, entry.inode()) for entry in entries if entry.name.startswith("event")}
        except OSError:  # no input device at all
            there = set()
        self._known &= there
        refused = set()
        for node in there - self._known:
            try:
                handle = os.open(node[0], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except PermissionError:
                refused.add(node)
            except OSError:  # gone already, or its driver is not ready
                continue
            else:
                self._known.add(node)
                if _has_trigger(handle):
                    self._handles.append(handle)
                else:
                    os.close(handle)
        # a device that was plugged in just now is closed to all until udev has given it to its group
        self.closed = tuple(sorted(path for path, _ in refused & self._refused))
        self._refused = refused

    def _presses(self, handle: int) -> int:
        count = 0
        try:
            while data := os.read(handle, 64 * EVENT.size):
                count += presses(data)
        except BlockingIOError:  # all is read
            return count
        except OSError:
            pass
        self._handles.remove(handle)  # unplugged
        os.close(handle)
        return count


def _has_trigger(handle: int) -> bool:
    import fcntl  # not on every system

    keys = bytearray(_KEY_BYTES)
    try:
        fcntl.ioctl(handle, _KEYS_OF, keys, True)
    except OSError:
        return False
    return bool(keys[_KEY_CAMERA // 8] >> _KEY_CAMERA % 8 & 1)
