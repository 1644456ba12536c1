"""Drawings of hairs, to be laid over training pictures."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["hair_masks"]

OVERSAMPLING = 3


@cache
def hair_masks(number: int, size: int) -> NDArray[np.uint8]:
    """`uint8[number,size,size]`: how much a hair covers each pixel. The same drawings every time."""
    random = np.random.default_rng(20_090)
    return np.stack([_drawing(random, size) for _ in range(number)])


def _drawing(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A few bent hairs, mostly growing one way."""
    side = size * OVERSAMPLING
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    direction = random.uniform(0, 2 * np.pi)
    for _ in range(random.integers(2, 15)):
        angle = direction + random.normal(0, 0.5)
        length = random.uniform(0.15, 0.9) * side
        start = random.uniform(-0.1, 1.1, 2) * side
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        t = np.linspace(0, 1, 24)[:, None]
        points = start + along * length * t + across * length * random.normal(0, 0.15) * t * (1 - t) * 4
        width = max(1, round(random.uniform(0.003, 0.009) * side))
        draw.line([tuple(point) for point in points.tolist()], fill=255, width=width, joint="curve")
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX))
