"""Sharpness and brightness of an image, to watch while adjusting focus and light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

__all__ = ["Reading", "read_quality"]

_DARK, _BRIGHT = 16, 250  # grey levels below and above which detail is lost


@dataclass(frozen=True, slots=True)
class Reading:
    """The quality of one image. Sharpness has no unit: compare values of the same scene."""

    width: int
    height: int
    sharpness: float
    brightness: float  # mean grey level, 0 to 255
    too_dark: float  # share of the pixels
    too_bright: float


def read_quality(picture: Image.Image) -> Reading:
    """Measure the central half of `picture`: the rim of a dermatoscope is always dark."""
    width, height = picture.size
    box = (width // 4, height // 4, width - width // 4, height - height // 4)
    grey = np.asarray(picture.crop(box).convert("L")).astype(np.int16)
    curve = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return Reading(
        width,
        height,
        sharpness=float(np.abs(curve).mean()),
        brightness=float(grey.mean()),
        too_dark=float((grey < _DARK).mean()),
        too_bright=float((grey > _BRIGHT).mean()),
    )
