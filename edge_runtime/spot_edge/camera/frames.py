"""Camera frames: complete JPEGs from padded or truncated ones, and RGB images from YUYV (two pixels in four bytes)."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Yuyv", "complete_jpeg", "encode"]

_START = b"\xff\xd8\xff"
_SCAN, _TABLES, _END = 0xDA, 0xC4, 0xD9
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker after a scan's data
_QUALITY = 95


def complete_jpeg(data: bytes) -> bytes:
    """Cut the JPEG out of `data`, without padding before and after it.

    A Motion-JPEG frame without Huffman tables gets the standard ones. Raises ValueError if there is no complete JPEG.
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
        raise ValueError(f"truncated after {len(data) - start} bytes") from None
    if tables:
        return data[start:at]
    return data[start:scan] + _standard_tables() + data[scan:at]


def encode(picture: Image.Image) -> bytes:
    """Encode `picture` (RGB) as a JPEG with almost no loss: quality 95, colour at full resolution."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


@cache
def _standard_tables() -> bytes:
    """The Huffman tables of the JPEG standard, taken from an image that Pillow writes."""
    from PIL import Image

    data = encode(Image.new("RGB", (8, 8)))
    found, at = b"", 2
    while data[at + 1] != _SCAN:
        length = 2 + (data[at + 2] << 8 | data[at + 3])
        if data[at + 1] == _TABLES:
            found += data[at : at + length]
        at += length
    return found


# weights of red and blue in brightness, by BT.601 and BT.709
_601, _709 = (0.299, 0.114), (0.2126, 0.0722)
_REC709, _JPEG = 3, 7  # V4L2 colour spaces that differ from its defaults
_FULL = 1  # V4L2 quantization from 0 to 255
_ENC_709 = (2, 4)


@dataclass(frozen=True, slots=True)
class Yuyv:
    """Layout and colours of a driver's YUYV frames, with V4L2's numbers (0 for its default)."""

    width: int
    height: int
    stride: int
    colorspace: int = 0
    encoding: int = 0
    quantization: int = 0

    def to_rgb(self, data: bytes) -> Image.Image:
        """Convert one frame to RGB. Drops an odd last column, which has no colour."""
        stride, pairs = max(self.stride, 2 * self.width), self.width // 2
        if len(data) < stride * self.height:
            raise ValueError(f"truncated: {len(data)} of {stride * self.height} bytes")
        import numpy as np  # imported here because `doctor` lists cameras even if numpy or Pillow is broken
        from PIL import Image

        rows = np.frombuffer(data, np.uint8, stride * self.height).reshape(self.height, stride)
        quads = rows[:, : 4 * pairs].reshape(self.height, pairs, 4).astype(np.float32)
        full = self.quantization == _FULL or (self.quantization == 0 and self.colorspace == _JPEG)
        low, luma, chroma = (0.0, 1.0, 1.0) if full else (16.0, 255 / 219, 255 / 224)
        y = (quads[..., 0::2] - low) * luma
        blue, red = (quads[..., 1:2] - 128) * chroma, (quads[..., 3:4] - 128) * chroma
        is_709 = self.encoding in _ENC_709 or (self.encoding == 0 and self.colorspace == _REC709)
        kr, kb = _709 if is_709 else _601
        r, b = y + 2 * (1 - kr) * red, y + 2 * (1 - kb) * blue
        g = (y - kr * r - kb * b) / (1 - kr - kb)
        rgb = np.stack([r, g, b], axis=-1).reshape(self.height, 2 * pairs, 3)
        return Image.fromarray(np.clip(np.rint(rgb), 0, 255).astype(np.uint8))
