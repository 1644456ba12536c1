"""A small data set of coloured shapes, for trying out training where no real images are at hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from spot_bench.canvas import Colour, Plane, Point, encode_jpeg, mix, noise, polygon
from spot_edge.files import make_folder, write_whole

__all__ = ["SHAPES", "draw_shape", "draw_shapes"]

SHAPES = ("circle", "square", "triangle")
_CORNERS = {"circle": 60, "square": 4, "triangle": 3}


def draw_shapes(folder: Path, per_class: int = 40, seed: int = 0, width: int = 160, height: int = 120) -> None:
    """Write a data set below `folder`: one class folder for each of SHAPES, each with `per_class` JPEG files."""
    for shape in SHAPES:
        place = make_folder(folder / shape)
        for number in range(per_class):
            picture = draw_shape(shape, seed * 100_000 + number, width, height)
            write_whole(place / f"{shape}-{number:04d}.jpg", encode_jpeg(picture))


def draw_shape(shape: str, seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """One shape of any colour, size, place and turn on a cloudy ground: the same for the same arguments."""
    random = np.random.default_rng([seed, SHAPES.index(shape)])
    ground, colour = random.uniform(0, 255, 3), random.uniform(0, 255, 3)
    while np.abs(ground - colour).sum() < 200:  # seen by anyone
        ground, colour = random.uniform(0, 255, 3), random.uniform(0, 255, 3)
    canvas: Plane = np.broadcast_to(ground.astype(np.float32), (height, width, 3))
    canvas = canvas + 12 * noise(random, width, height, height / 3)[:, :, None]
    radius = height * random.uniform(0.20, 0.38)
    x = random.uniform(radius, width - radius)
    y = random.uniform(radius, height - radius)
    turn, corners = random.uniform(0, 2 * math.pi), _CORNERS[shape]
    points: list[Point] = [
        (x + radius * math.cos(turn + angle), y + radius * math.sin(turn + angle))
        for angle in np.arange(corners) * 2 * math.pi / corners
    ]
    paint: Colour = (float(colour[0]), float(colour[1]), float(colour[2]))
    canvas = mix(canvas, paint, polygon(width, height, points, blur=0.4))
    grainy = canvas + random.normal(0, 3, canvas.shape)
    return Image.fromarray(np.clip(grainy + 0.5, 0, 255).astype(np.uint8), "RGB")
