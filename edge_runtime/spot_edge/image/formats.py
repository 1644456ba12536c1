"""Open an image with the decoder that its first bytes call for, and find files that abuse their decoder.

`PIL.Image.open` would import five decoders and try each, a tenth of the time of a whole `spot-edge classify`. An
abusive file has a few hundred bytes, but makes its decoder use gigabytes or minutes.
"""

from __future__ import annotations

import io
import re
import struct
import sys
from importlib import import_module
from typing import NamedTuple

from PIL import Image

from spot_edge.errors import InputError

__all__ = [
    "AFTER_SCAN",
    "FORMATS",
    "JpegStart",
    "has_overlapping_tags",
    "joined_exif",
    "open_image",
    "read_jpeg_start",
    "webp_size",
    "without_end",
]

# first bytes → format, and Pillow's module and class for it
_KINDS: tuple[tuple[bytes, str, str, str], ...] = (
    (b"\xff\xd8\xff", "JPEG", "JpegImagePlugin", "JpegImageFile"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "PngImagePlugin", "PngImageFile"),
    (b"RIFF", "WEBP", "WebPImagePlugin", "WebPImageFile"),
    (b"II*\x00", "TIFF", "TiffImagePlugin", "TiffImageFile"),
    (b"MM\x00*", "TIFF", "TiffImagePlugin", "TiffImageFile"),
    (b"BM", "BMP", "BmpImagePlugin", "BmpImageFile"),
    (b"GIF8", "GIF", "GifImagePlugin", "GifImageFile"),
)

FORMATS = tuple(dict.fromkeys(kind[1] for kind in _KINDS))


def open_image(data: bytes, name: str) -> Image.Image:
    """Open the image in `data` without decoding its pixels. Raises InputError for a format that is not in FORMATS.

    A JPEG followed by previews (MPO, written by some cameras) counts as its first image.
    """
    for start, kind, module, decoder in _KINDS:
        if data.startswith(start):
            if kind == "WEBP" and data[8:12] != b"WEBP":
                break
            image: Image.Image = getattr(import_module(f"PIL.{module}"), decoder)(io.BytesIO(data))
            return image
    raise InputError(f"{name}: not an image in a known format ({', '.join(FORMATS)})")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in the header of a WebP file, or zeros: Pillow reads them only with all memory for decoding."""
    kind = data[12:16] if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30 else b""
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return 0, 0


_SEQUENTIAL = (0xC0, 0xC1)  # start of a frame that is neither progressive nor lossless
_SCAN = 0xDA
_SEGMENTS = frozenset((*_SEQUENTIAL, 0xC2, 0xC4, _SCAN, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE))  # usual before a scan

AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # a JPEG marker that is not part of a scan's data
# Bits without meaning, for a decoder that looks ahead. They are fewer than those of most missing blocks, and all ones
# is no code: whatever misses more than a few blocks ends in them.
_PADDING = b"\xff\0" * 12

# The start of TIFF files and of the EXIF in other files. Pillow also accepts both with swapped bytes.
_DIRECTORY = re.compile(rb"II\*\0|II\0\*|MM\0\*|MM\*\0")
_FURTHER = (0x8769, 0x8825, 0xA005)  # tags that point to another directory: EXIF, GPS, interoperability
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of each tag type
_MOST_SEGMENTS = 1_000  # of a JPEG before its scan: more than any real file has
_MOST_ENTRIES = 100_000  # more than any real file has


class JpegStart(NamedTuple):
    """What precedes the pixels of a JPEG."""

    length: int  # bytes before the first scan. The decoder reads no tags after them
    one_scan: bool  # whether the decoder makes one pass over the pixels


def read_jpeg_start(data: bytes) -> JpegStart:
    """Read the segments of the JPEG in `data` up to its first scan, which takes a fraction of searching all bytes.

    If any segment is unusual, or if there are very many, decoders may read the file in different ways: all bytes count,
    and many scans.
    """
    unusual = JpegStart(len(data), False)
    at, channels = 2, 0
    try:
        for _ in range(_MOST_SEGMENTS):
            start, kind, length = struct.unpack_from(">BBH", data, at)
            if start != 0xFF or kind not in _SEGMENTS or length < 2:
                return unusual
            if kind == _SCAN:
                return JpegStart(at, 0 < channels == data[at + 4])
            if kind in _SEQUENTIAL:
                channels = data[at + 9] if not channels else -1  # -1: a second frame
            at += 2 + length
    except (struct.error, IndexError):
        pass
    return unusual


def joined_exif(data: bytes, end: int) -> list[bytes]:
    """The contents of the Exif segments of the JPEG in `data` that start before `end`, the usual marker in front.

    Pillow joins them, or takes the first one, depending on its version.
    """
    found: list[bytes] = []
    at = data.find(b"Exif\0\0", 0, end)
    while at >= 0:
        if data[at - 4 : at - 2] == b"\xff\xe1":
            found.append(data[at + 6 : at - 2 + int.from_bytes(data[at - 2 : at], "big")])
        at = data.find(b"Exif\0\0", at + 6, end)
    return found


def without_end(data: bytes, scan: int) -> bytes:
    """Cut the JPEG in `data`, whose only scan starts at `scan`, where this scan ends.

    A decoder that finds the end of the file before the last block paints what is missing grey. Without an end it asks
    for more bytes instead, and Pillow reports a truncated file.
    """
    end = AFTER_SCAN.search(data, scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big"))
    return data[: end.start()] + _PADDING if end else data


def has_overlapping_tags(data: bytes, end: int = sys.maxsize) -> bool:
    """Whether TIFF or EXIF tags in `data` overlap, which makes older Pillow versions copy the same bytes many times.

    Only tags that start before `end` count.
    """
    entries = 0
    for header in _DIRECTORY.finditer(data, 0, end):
        form, start = "<" if header[0][0] == ord("I") else ">", header.start()
        claimed, left, entries = 0, [data[header.end() : header.end() + 4]], entries + 1
        while left:
            place = left.pop()
            at = start + (struct.unpack(form + "I", place)[0] if len(place) == 4 else len(data))
            if at + 2 > len(data):
                continue
            packed = data[at + 2 : at + 2 + 12 * struct.unpack_from(form + "H", data, at)[0]]
            for tag, kind, count, value in struct.iter_unpack(form + "HHI4s", packed[: len(packed) // 12 * 12]):
                size = count * _SIZES.get(kind, 0)
                claimed += size if 4 < size <= len(data) else 0  # larger values are not read
                entries += 1
                if tag in _FURTHER:
                    left.append(value)
                if claimed > 4 * len(data) or entries > _MOST_ENTRIES:
                    return True
        if entries > _MOST_ENTRIES:
            return True
    return False
