"""JPEGs as cameras send them: padded, cut short, or without the tables that every other JPEG carries."""

from __future__ import annotations

import io
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["encode", "whole"]

_START = b"\xff\xd8\xff"
_SCAN, _TABLES, _END = 0xDA, 0xC4, 0xD9
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker that is not part of a scan's data
_QUALITY = 95


def whole(data: bytes) -> bytes:
    """The JPEG in `data`, from its start to its end, without what a driver's buffer holds before and behind it.

    A Motion-JPEG frame without Huffman tables gets the standard ones, which such cameras mean; all else stays as it is.
    Raises ValueError with what is wrong where there is no whole picture.
    """
    start = data.find(_START)
    if start < 0:
        raise ValueError(f"no JPEG in {len(data)} bytes" if data else "empty")
    at, scan, tables = start + 2, 0, False
    try:
        while True:
            if data[at] != 0xFF:
                raise ValueError(f"damaged at byte {at - start}")
            while data[at] == 0xFF:
                at += 1
            marker = data[at]
            at += 1
            if marker == _END and scan:
                break
            if marker in _ALONE:
                continue
            if marker in (0x00, 0xD8, _END):
                raise ValueError(f"damaged at byte {at - start}")
            tables = tables or marker == _TABLES
            if marker == _SCAN:
                scan = scan or at - 2
            at += data[at] << 8 | data[at + 1]
            if marker == _SCAN:
                following = _AFTER_SCAN.search(data, at)
                if following is None:
                    raise IndexError
                at = following.start()
    except IndexError:
        raise ValueError(f"cut short after {len(data) - start} bytes") from None
    if tables:
        return data[start:at]
    return data[start:scan] + _standard_tables() + data[scan:at]


def encode(picture: Image.Image) -> bytes:
    """`picture` (RGB) as a JPEG that loses next to nothing: quality 95, colour in full resolution."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


@cache
def _standard_tables() -> bytes:
    """The Huffman tables of the JPEG standard, which Pillow writes into every picture that it does not optimize."""
    from PIL import Image

    data = encode(Image.new("RGB", (8, 8)))
    found, at = b"", 2
    while data[at + 1] != _SCAN:
        length = 2 + (data[at + 2] << 8 | data[at + 3])
        if data[at + 1] == _TABLES:
            found += data[at : at + length]
        at += length
    return found
