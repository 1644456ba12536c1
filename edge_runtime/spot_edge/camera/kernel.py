"""The calls to the kernel that a V4L2 camera needs, in one small class: tests put a scripted kernel in its place."""

from __future__ import annotations

import glob
import os
import re
import select
import sys
from typing import Any

__all__ = ["Kernel"]


class Kernel:
    """The running kernel. Every call raises OSError as the kernel says; none of them waits but `wait`."""

    def nodes(self) -> list[str]:
        """The paths of all video devices, by number."""
        found = [name for name in glob.glob("/dev/video*") if re.fullmatch(r"/dev/video\d+", name)]
        return sorted(found, key=lambda name: int(name.removeprefix("/dev/video")))

    def open(self, path: str) -> int:
        """A handle of the device at `path`."""
        if sys.platform != "linux":
            raise OSError(0, "cameras are read through Linux's V4L2, which this system does not have")
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, handle: int) -> None:
        """Let `handle` go."""
        os.close(handle)

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        """One request to the driver, whose answer replaces `data`."""
        import fcntl  # not on every system

        fcntl.ioctl(handle, request, data, True)

    def map(self, handle: int, length: int, offset: int) -> Any:
        """A buffer of the driver's: to be sliced, and closed."""
        import mmap

        return mmap.mmap(handle, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def wait(self, handle: int, seconds: float) -> bool:
        """Whether, within `seconds`, the driver has a frame or a complaint."""
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, 1000 * seconds)))
