"""The trigger button of a camera. Linux reports it as the key KEY_CAMERA of an input device, read through evdev.

Other keys are ignored: a foot switch that acts as a keyboard (Enter, space) reaches the terminal anyway, and
KEY_CAMERA_FOCUS is a trigger pressed halfway.
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
_DOWN = 1  # 0: released; 2: held, repeated by the kernel
_KEY_BYTES = 96  # one bit for each possible key
_KEYS_OF = 2 << 30 | _KEY_BYTES << 16 | ord("E") << 8 | 0x20 + _KEY  # the ioctl EVIOCGBIT
_SCAN_EVERY = 1.0  # seconds


def presses(data: bytes, event: struct.Struct = EVENT) -> int:
    """Count the presses of the trigger in these events."""
    whole = data[: len(data) // event.size * event.size]
    return sum((kind, code, value) == (_KEY, _KEY_CAMERA, _DOWN) for *_, kind, code, value in event.iter_unpack(whole))


class Buttons:
    """All triggers of this system. They may come and go."""

    def __init__(self, folder: str = "/dev/input") -> None:
        self.closed: tuple[str, ...] = ()  # devices without read permission, which may be triggers
        self._folder, self._next_scan = folder, 0.0
        self._handles: list[int] = []
        self._known: set[tuple[str, int]] = set()  # path and inode: numbers are reused when a device is plugged in
        self._refused: set[tuple[str, int]] = set()

    def __enter__(self) -> Buttons:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            os.close(handle)
        self._handles = []

    def find(self) -> list[int]:
        """Return the handles to wait for. Looks for new triggers once a second."""
        if time.monotonic() >= self._next_scan:
            self._next_scan = time.monotonic() + _SCAN_EVERY
            self._scan()
        return self._handles

    def pressed(self) -> bool:
        """Whether a trigger was pressed since the last call."""
        return sum([self._presses(handle) for handle in list(self._handles)]) > 0

    def _scan(self) -> None:
        try:
            with os.scandir(self._folder) as entries:
                there = {(entry.path, entry.inode()) for entry in entries if entry.name.startswith("event")}
        except OSError:  # no input devices
            there = set()
        self._known &= there
        refused = set()
        for node in there - self._known:
            try:
                handle = os.open(node[0], os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except PermissionError:
                refused.add(node)
            except OSError:  # already gone, or its driver is not ready
                continue
            else:
                self._known.add(node)
                if _has_trigger(handle):
                    self._handles.append(handle)
                else:
                    os.close(handle)
        # a new device has no permissions until udev has assigned its group
        self.closed = tuple(sorted(path for path, _ in refused & self._refused))
        self._refused = refused

    def _presses(self, handle: int) -> int:
        count = 0
        try:
            while data := os.read(handle, 64 * EVENT.size):
                count += presses(data)
        except BlockingIOError:  # nothing more to read
            return count
        except OSError:
            pass
        self._handles.remove(handle)  # unplugged
        os.close(handle)
        return count


def _has_trigger(handle: int) -> bool:
    import fcntl  # not available everywhere

    keys = bytearray(_KEY_BYTES)
    try:
        fcntl.ioctl(handle, _KEYS_OF, keys, True)
    except OSError:
        return False
    return bool(keys[_KEY_CAMERA // 8] >> _KEY_CAMERA % 8 & 1)
