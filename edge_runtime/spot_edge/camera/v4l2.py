"""The calls to the kernel that a V4L2 camera needs, in one small class: tests put a scripted kernel in its place.

Video4Linux2 in bytes: the structures that the kernel takes, the numbers of its requests, and what its errors mean.

Structures are laid out by `struct` in native sizes: `v4l2_buffer` holds a time and a pointer, so 32-bit systems have
another layout, and other numbers, than 64-bit ones.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import select
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spot_edge.errors import CameraError, one_line

__all__ = [
    "BUFFER",
    "CAPABILITY",
    "CONTROL",
    "CONTROL_INFO",
    "FORMAT",
    "FORMAT_INFO",
    "REQUEST_BUFFERS",
    "SIZE_INFO",
    "STREAM",
    "Kernel",
    "Layout",
    "ask",
    "explained",
    "fourcc",
]


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


class Layout:
    """One structure of the kernel's: its fields as `struct` writes them."""

    def __init__(self, fields: str) -> None:
        self.fields = fields
        self.size = struct.calcsize(fields)

    def pack(self, *values: Any) -> bytearray:
        """The structure with these first values; all others are zero."""
        empty = struct.unpack(self.fields, bytes(self.size))
        return bytearray(struct.pack(self.fields, *values, *empty[len(values) :]))

    def number(self, direction: int, which: int) -> int:
        """The number of the ioctl `which` with this structure; direction 1 writes, 2 reads, 3 does both."""
        return direction << 30 | self.size << 16 | ord("V") << 8 | which


# "0P" aligns as a pointer does: v4l2_format's union holds one. Names of the fields used are beside them.
CAPABILITY = Layout("16s32s32sIII3I")  # driver, card, bus_info, version, capabilities, device_caps
FORMAT_INFO = Layout("II I32s II3I")  # index, type, flags, description, pixelformat
SIZE_INFO = Layout("III6I2I")  # index, pixel_format, type, width, height (discrete) or a range of each
FORMAT = Layout("I0P12I152x")  # type, then width, height, pixelformat, field, bytesperline, sizeimage, colorspace, …
REQUEST_BUFFERS = Layout("III2I")  # count, type, memory
BUFFER = Layout("IIIII ll IIBBBB4s I I L III0L")  # index, type, bytesused, flags, field, seconds, microseconds, …
STREAM = Layout("i")  # type
CONTROL_INFO = Layout("II32siiiiI2I")  # id, type, name, minimum, maximum, step, default_value, flags
CONTROL = Layout("Ii")  # id, value

# what the kernel's errors mean to whoever holds the camera, and whether waiting may help
_MEANINGS: dict[int, tuple[str, bool]] = {
    errno.ENOENT: ("no such camera: plug it in, or see `spot-edge camera list`", True),
    errno.ENODEV: ("the camera was unplugged, or its driver ended", True),
    errno.ENXIO: ("the camera was unplugged, or its driver ended", True),
    errno.EPROTO: ("the camera does not answer on its USB cable: plug it in anew", True),
    errno.EPIPE: ("the camera does not answer on its USB cable: plug it in anew", True),
    errno.ETIMEDOUT: ("the camera does not answer on its USB cable: plug it in anew", True),
    errno.EIO: ("the camera does not answer on its USB cable: plug it in anew", True),
    errno.EBUSY: ("in use by another program: end that one first", True),
    errno.EACCES: ('no permission: run `sudo usermod -aG video "$USER"`, then log in again', False),
    errno.EPERM: ('no permission: run `sudo usermod -aG video "$USER"`, then log in again', False),
    errno.ENOTTY: ("not a camera", False),
    errno.ENOSPC: ("its USB bus has no room for this stream: another socket, or a smaller --size, may help", False),
    errno.ENOMEM: ("no memory left for its buffers: a smaller --size may help", False),
}


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the kernel says about camera `name` into a CameraError with advice."""
    try:
        yield
    except OSError as error:
        meaning, transient = _MEANINGS.get(error.errno or 0, (error.strerror or str(error), False))
        raise CameraError(f"{name}: {meaning}", transient=transient) from error


def ask(kernel: Kernel, handle: int, layout: Layout, direction: int, which: int, *values: Any) -> tuple[Any, ...]:
    """Send the request `which` with `values`, and return what the driver made of them."""
    data = layout.pack(*values)
    kernel.ioctl(handle, layout.number(direction, which), data)
    return struct.unpack(layout.fields, data)


def fourcc(code: int) -> str:
    """The name of a pixel format, as in "MJPG"; those of the other byte order end in "-BE", as elsewhere."""
    letters = (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace")
    letters = one_line(letters.rstrip("\0 "))
    return f"{letters}-BE" if code >> 31 else letters
