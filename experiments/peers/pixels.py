"""Image to tensor and scores to ranking, as users of a bare runtime would write it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["planes", "ranked", "read_pixels"]


def read_pixels(path: str, side: int) -> NDArray[np.uint8]:
    """The image at `path` as uint8[1,S,S,3]."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small)[np.newaxis]


def planes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8[1,S,S,3] as float32[1,3,S,S] from -1 to 1, the input of the ONNX files and PyTorch."""
    scaled = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def ranked(labels: Sequence[str], scores: Iterable[float]) -> list[tuple[str, float]]:
    """Labels with their scores, the best first."""
    return sorted(zip(labels, map(float, scores), strict=True), key=lambda pair: -pair[1])
