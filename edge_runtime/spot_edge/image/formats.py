"""The kinds of image file that are taken, told apart by their first bytes: only that kind's decoder is loaded and run.

`PIL.Image.open` would import five decoders to try them in turn, a tenth of the time of a whole `spot-edge classify`.


What a small picture file would make its decoder do: things that take a hundred bytes to ask for, and gigabytes or
minutes to carry out. Imported only for files that may be such."""

from __future__ import annotations

import io
import re
import struct
from importlib import import_module

from PIL import Image

from spot_edge.errors import InputError

__all__ = ["FORMATS", "claims_too_much", "count_scans", "open_image"]

# first bytes → the format's name, and Pillow's module and class for it
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
    """The image in `data`, its header read and its pixels not yet; InputError where its kind is none of FORMATS.

    A JPEG with previews behind it (MPO, as cameras write it) is its first picture.
    """
    for start, kind, module, decoder in _KINDS:
        if data.startswith(start):
            if kind == "WEBP" and data[8:12] != b"WEBP":
                break
            image: Image.Image = getattr(import_module(f"PIL.{module}"), decoder)(io.BytesIO(data))
            return image
    raise InputError(f"{name}: not an image in a known format ({', '.join(FORMATS)})")


_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # of a JPEG, but for those that belong to a scan's data
_SCAN, _END = 0xDA, 0xD9
_ALONE = (0x01, 0xD8)  # without a length

# What TIFF files begin with, and the EXIF of all others; Pillow also takes both with their bytes exchanged.
_DIRECTORY = re.compile(rb"II\*\0|II\0\*|MM\0\*|MM\*\0")
_FURTHER = (0x8769, 0x8825, 0xA005)  # tags that lead to another directory: of EXIF, of places, of interoperability
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # of a tag's types
_MOST_ENTRIES = 100_000  # more than an honest file has in all its directories together


def count_scans(data: bytes) -> int:
    """The scans of the JPEG in `data`, up to its end or to where it breaks off; none of a preview that it carries."""
    at, found = 0, 0
    while marker := _MARKER.search(data, at):
        at, kind = marker.end(), marker[0][1]
        if kind == _END:
            break
        if kind not in _ALONE:
            found += kind == _SCAN
            at += int.from_bytes(data[at : at + 2], "big")
    return found


def claims_too_much(data: bytes) -> bool:
    """Whether tags of TIFF or EXIF in `data` name the same bytes over and over: older Pillows copy them each time."""
    entries = 0
    for header in _DIRECTORY.finditer(data):
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
                claimed += size if 4 < size <= len(data) else 0  # what does not fit is not read
                entries += 1
                if tag in _FURTHER:
                    left.append(value)
                if claimed > 4 * len(data) or entries > _MOST_ENTRIES:
                    return True
        if entries > _MOST_ENTRIES:
            return True
    return False
