"""Video4Linux2: the kernel's structures, requests and errors, and the system calls in one small class.

Tests replace that class with a scripted kernel. Structures use native sizes: `v4l2_buffer` holds a time and a
pointer, so layout and request numbers differ between 32-bit and 64-bit systems.
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
    "camera_errors",
    "fourcc",
]


class Kernel:
    """The running kernel. Calls raise OSError, and only `wait` blocks."""

    def nodes(self) -> list[str]:
        """The paths of all video devices, in order of their numbers."""
        found = [name for name in glob.glob("/dev/video*") if re.fullmatch(r"/dev/video\d+", name)]
        return sorted(found, key=lambda name: int(name.removeprefix("/dev/video")))

    def open(self, path: str) -> int:
        """Open the device at `path`."""
        if sys.platform != "linux":
            raise OSError(0, "cameras need V4L2, which only Linux has")
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self, handle: int) -> None:
        """Close `handle`."""
        os.close(handle)

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        """Send a request to the driver. Its answer replaces `data`."""
        import fcntl  # not available everywhere

        fcntl.ioctl(handle, request, data, True)

    def map(self, handle: int, length: int, offset: int) -> Any:
        """Map a buffer of the driver, to be sliced and closed."""
        import mmap

        return mmap.mmap(handle, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def wait(self, handle: int, seconds: float) -> bool:
        """Wait up to `seconds` until the driver has a frame or an error. Returns whether it has."""
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(max(0.0, 1000 * seconds)))


class Layout:
    """One structure of the kernel, with its fields in the notation of `struct`."""

    def __init__(self, fields: str) -> None:
        self.fields = fields
        self.size = struct.calcsize(fields)

    def pack(self, *values: Any) -> bytearray:
        """The structure with these first values, and zeros after them."""
        empty = struct.unpack(self.fields, bytes(self.size))
        return bytearray(struct.pack(self.fields, *values, *empty[len(values) :]))

    def number(self, direction: int, which: int) -> int:
        """The number of the ioctl `which` with this structure. Direction: 1 writes, 2 reads, 3 does both."""
        return direction << 30 | self.size << 16 | ord("V") << 8 | which


# "0P" aligns like a pointer, because v4l2_format's union holds one. The comments name the fields in use.
CAPABILITY = Layout("16s32s32sIII3I")  # driver, card, bus_info, version, capabilities, device_caps
FORMAT_INFO = Layout("II I32s II3I")  # index, type, flags, description, pixelformat
SIZE_INFO = Layout("III6I2I")  # index, pixel_format, type, width, height (discrete) or a range of each
FORMAT = Layout("I0P12I152x")  # type, then width, height, pixelformat, field, bytesperline, sizeimage, colorspace, …
REQUEST_BUFFERS = Layout("III2I")  # count, type, memory
BUFFER = Layout("IIIII ll IIBBBB4s I I L III0L")  # index, type, bytesused, flags, field, seconds, microseconds, …
STREAM = Layout("i")  # type
CONTROL_INFO = Layout("II32siiiiI2I")  # id, type, name, minimum, maximum, step, default_value, flags
CONTROL = Layout("Ii")  # id, value

# error number → what it means to the user, and whether waiting may help
_MEANINGS: dict[int, tuple[str, bool]] = {
    errno.ENOENT: ("no such camera: plug it in, or see `spot-edge camera list`", True),
    errno.ENODEV: ("the camera was unplugged, or its driver stopped", True),
    errno.ENXIO: ("the camera was unplugged, or its driver stopped", True),
    errno.EPROTO: ("the camera does not respond: unplug it and plug it in again", True),
    errno.EPIPE: ("the camera does not respond: unplug it and plug it in again", True),
    errno.ETIMEDOUT: ("the camera does not respond: unplug it and plug it in again", True),
    errno.EINVAL: ("the camera refuses its settings: if this stays, unplug it and plug it in again", True),  # plugging
    errno.EIO: ("the camera does not respond: unplug it and plug it in again", True),
    errno.EBUSY: ("in use by another program: close that one first", True),
    errno.EACCES: ('no permission: run `sudo usermod -aG video "$USER"`, then log in again', False),
    errno.EPERM: ('no permission: run `sudo usermod -aG video "$USER"`, then log in again', False),
    errno.ENOTTY: ("not a camera", False),
    errno.ENOSPC: ("its USB bus has too little bandwidth: try another port or a smaller --size", False),
    errno.ENOMEM: ("no memory for its buffers: try a smaller --size", False),
}


@contextmanager
def camera_errors(name: str) -> Iterator[None]:
    """Turn the kernel's errors about camera `name` into a CameraError with advice."""
    try:
        yield
    except OSError as error:
        meaning, transient = _MEANINGS.get(error.errno or 0, (error.strerror or str(error), False))
        raise CameraError(f"{name}: {meaning}", transient=transient) from error


def ask(kernel: Kernel, handle: int, layout: Layout, direction: int, which: int, *values: Any) -> tuple[Any, ...]:
    """Send the request `which` with `values`, and return the driver's answer."""
    data = layout.pack(*values)
    kernel.ioctl(handle, layout.number(direction, which), data)
    return struct.unpack(layout.fields, data)


def fourcc(code: int) -> str:
    """The name of a pixel format, such as "MJPG". Big-endian formats end in "-BE"."""
    letters = (code & 0x7FFFFFFF).to_bytes(4, "little").decode("ascii", "replace")
    letters = one_line(letters.rstrip("\0 "))
    return f"{letters}-BE" if code >> 31 else letters
