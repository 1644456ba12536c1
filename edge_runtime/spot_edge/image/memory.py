"""Estimate from its header how much memory an image file needs while it is decoded."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from typing import TypeAlias

from spot_edge.image.formats import webp_size
from spot_edge.image.limits import MAX_PIXELS

__all__ = ["LARGEST_IMAGE", "decoding_memory"]

# Bytes per pixel at the peak, measured with 50 megapixels, and half a byte on top. Rotation and conversion need a
# second image of four bytes per pixel, transparency and profiles a third one, progressive JPEGs all their coefficients.
_PLAIN_JPEG, _OTHERS, _WEBP = 8.5, 12.5, 16.5
LARGEST_IMAGE = int(_WEBP * MAX_PIXELS)  # bytes
_LONGEST = 200  # segments of a JPEG, or blocks of a GIF, that are read: others count as the largest image

_Read: TypeAlias = Callable[[int, int], bytes]  # read(at, count)
_Needs: TypeAlias = "tuple[int, int, float] | None"  # width, height, bytes per pixel


def decoding_memory(path: str) -> int:
    """The most bytes that decoding the image file at `path` takes, its own included. Decodes nothing.

    A file with an unknown header counts as the largest image, and one that cannot be opened as nothing.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError):
        return 0
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):  # reading a pipe would take its bytes away
            return LARGEST_IMAGE
        head = os.read(handle, 4096)

        def read(at: int, count: int) -> bytes:
            if at + count <= len(head):
                return head[at : at + count]
            os.lseek(handle, at, os.SEEK_SET)
            return os.read(handle, count)

        needs = _needs(head, read)
    except (OSError, OverflowError):
        return 0
    except (struct.error, IndexError):  # cut off
        needs = None
    finally:
        os.close(handle)
    width, height, each = needs or (MAX_PIXELS, 1, _WEBP)
    return about.st_size + int(each * min(width * height, MAX_PIXELS))


def _needs(head: bytes, read: _Read) -> _Needs:
    if head.startswith(b"\xff\xd8"):
        return _jpeg(read)
    if head.startswith(b"\x89PNG"):
        return (*struct.unpack_from(">II", head, 16), _OTHERS)
    if head.startswith(b"RIFF"):
        width, height = webp_size(head)
        return (width, height, _WEBP) if width else None
    if head.startswith(b"GIF8"):
        return _gif(head, read)
    if head.startswith((b"II*\0", b"MM\0*")):
        return _tiff(head, read)
    if head.startswith(b"BM"):
        old = struct.unpack_from("<I", head, 14)[0] == 12
        width, height = struct.unpack_from("<HH" if old else "<ii", head, 18)
        return abs(width), abs(height), _OTHERS
    return 0, 0, 0.0  # not an image in a known format: refused


def _jpeg(read: _Read) -> _Needs:
    at, profile = 2, False
    for _ in range(_LONGEST):
        start, kind, length = struct.unpack(">BBH", read(at, 4))
        if start != 0xFF or kind in (0xDA, 0xFF):
            break
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width, channels = struct.unpack(">HHB", read(at + 5, 5))
            return width, height, _PLAIN_JPEG if kind < 0xC2 and channels < 4 and not profile else _OTHERS
        profile = profile or (kind == 0xE2 and read(at + 4, 11) == b"ICC_PROFILE")
        at += 2 + length
    return None


def _gif(head: bytes, read: _Read) -> _Needs:
    """The screen of a GIF, enlarged by its first image."""
    width, height, flags = struct.unpack_from("<HHB", head, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    in_extension = False
    for _ in range(_LONGEST):
        first = read(at, 1)[0]
        if in_extension:  # its next block, of which 0 is the last
            at, in_extension = at + 1 + first, first > 0
        elif first == 0x2C:
            left, top, across, down = struct.unpack("<4H", read(at + 1, 8))
            return max(width, left + across), max(height, top + down), _OTHERS
        elif first == 0x21:
            at, in_extension = at + 2, True
        else:
            break
    return None


def _tiff(head: bytes, read: _Read) -> _Needs:
    form = "<" if head[0] == ord("I") else ">"
    at = struct.unpack_from(form + "I", head, 4)[0]
    entries = read(at + 2, 12 * struct.unpack(form + "H", read(at, 2))[0])
    sides = dict.fromkeys((256, 257), MAX_PIXELS)
    for tag, kind, _, value in struct.iter_unpack(form + "HHI4s", entries[: len(entries) // 12 * 12]):
        if tag in sides:
            sides[tag] = struct.unpack(form + ("H" if kind == 3 else "I"), value[: 2 if kind == 3 else 4])[0]
    return sides[256], sides[257], _OTHERS
