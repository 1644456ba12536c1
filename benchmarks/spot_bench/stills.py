"""Large stills made of small pictures: enlarged, with a sensor's grain, as a camera's JPEG of 12 megapixels."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageChops

from spot_bench.canvas import encode_jpeg

__all__ = ["STILL", "large_still"]

STILL = (4000, 3000)
_GRAIN = 5.0  # grey levels, standard deviation: with less, so large a JPEG is smaller than a camera's
_MIDDLE = 128


def large_still(picture: Image.Image, seed: int = 0) -> bytes:
    """`picture` (RGB, four to three) as a JPEG of 4000x3000, quality 90: some 2 to 4 MB.

    Bicubic, so it holds no more detail than `picture` has, but for the grain. Other seeds lay other grain over it.
    """
    across, down = np.random.default_rng(seed).integers(0, STILL).tolist()
    grain = ImageChops.offset(_grain(), across, down)
    return encode_jpeg(ImageChops.add(picture.resize(STILL, Image.Resampling.BICUBIC), grain, 1, -_MIDDLE))


@functools.cache
def _grain() -> Image.Image:
    width, height = STILL
    levels = np.random.default_rng(0).normal(_MIDDLE, _GRAIN, (height, width))
    grey = Image.fromarray(np.clip(levels + 0.5, 0, 255).astype(np.uint8))
    return Image.merge("RGB", (grey, grey, grey))
