"""Video4Linux2 in bytes: the structures that the kernel takes, the numbers of its requests, and what its errors mean.

Structures are laid out by `struct` in native sizes: `v4l2_buffer` holds a time and a pointer, so 32-bit systems have
another layout, and other numbers, than 64-bit ones.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spot_edge.camera.kernel import Kernel
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
    "Layout",
    "ask",
    "explained",
    "fourcc",
]


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
        meaning, passing = _MEANINGS.get(error.errno or 0, (error.strerror or str(error), False))
        raise CameraError(f"{name}: {meaning}", passing=passing) from error


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
