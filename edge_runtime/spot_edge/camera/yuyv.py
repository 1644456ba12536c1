"""Uncompressed frames (YUYV: two pixels in four bytes) to RGB, in the colours that the driver says it means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

__all__ = ["Yuyv"]

# shares of red and blue in brightness, by BT.601 and BT.709
_601, _709 = (0.299, 0.114), (0.2126, 0.0722)
_REC709, _JPEG = 3, 7  # V4L2's colour spaces that mean something else than its defaults
_FULL = 1  # V4L2's quantization from 0 to 255
_ENC_709 = (2, 4)


@dataclass(frozen=True, slots=True)
class Yuyv:
    """How a driver lays out and colours its YUYV frames; numbers as V4L2 gives them, 0 where it leaves the default."""

    width: int
    height: int
    stride: int
    colorspace: int = 0
    encoding: int = 0
    quantization: int = 0

    def picture(self, data: bytes) -> Image.Image:
        """The RGB picture in one frame. An odd last column, which has no colour of its own, is left out."""
        stride, pairs = max(self.stride, 2 * self.width), self.width // 2
        if len(data) < stride * self.height:
            raise ValueError(f"cut short: {len(data)} of {stride * self.height} bytes")
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
