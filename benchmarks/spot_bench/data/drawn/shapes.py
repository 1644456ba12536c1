"""Draw a small data set of coloured shapes to try out training, and images without skin that a model must refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from spot_bench.data.drawn.canvas import Colour, Plane, Point, encode_jpeg, mix, noise, polygon
from spot_edge.files import make_folder, write_file

__all__ = ["NOT_SKIN", "SHAPES", "draw_shape", "draw_shapes"]

SHAPES = ("circle", "square", "triangle")
_CORNERS = {"circle": 60, "square": 4, "triangle": 3}


def draw_shapes(folder: Path, per_class: int = 40, seed: int = 0, width: int = 160, height: int = 120) -> None:
    """Write a data set to `folder`: a class folder for each of SHAPES with `per_class` JPEG files."""
    for shape in SHAPES:
        place = make_folder(folder / shape)
        for number in range(per_class):
            image = draw_shape(shape, seed * 100_000 + number, width, height)
            write_file(place / f"{shape}-{number:04d}.jpg", encode_jpeg(image))


def draw_shape(shape: str, seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Draw a shape of random colour, size, position and rotation on a cloudy background, reproducibly."""
    random = np.random.default_rng([seed, SHAPES.index(shape)])
    ground, colour = random.uniform(0, 255, 3), random.uniform(0, 255, 3)
    while np.abs(ground - colour).sum() < 200:  # clearly visible
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


_SIZE = _WIDTH, _HEIGHT = (400, 300)


def _shape(seed: int) -> Image.Image:
    return draw_shape(SHAPES[seed % len(SHAPES)], seed)


def _noise(seed: int) -> Image.Image:
    """Draw, by seed, random pixels, grain on one colour, clouds, or one colour."""
    random = np.random.default_rng(seed)
    kind = seed % 4
    if kind == 0:
        return Image.fromarray(random.integers(0, 256, (_HEIGHT, _WIDTH, 3), np.uint8))
    if kind == 1:
        values = random.normal(random.uniform(40, 215, 3), random.uniform(2, 40), (_HEIGHT, _WIDTH, 3))
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if kind == 2:
        clouds = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        return clouds.resize(_SIZE, Image.Resampling.BICUBIC)
    return Image.new("RGB", _SIZE, _colour(random, 0))


def _text(seed: int) -> Image.Image:
    """Draw a page of dark letters on white or a light colour."""
    random = np.random.default_rng(seed)
    page = Image.new("RGB", _SIZE, (255, 255, 255) if seed % 3 else _colour(random, 150))
    pen, line = ImageDraw.Draw(page), int(random.integers(12, 30))
    ink = (0, 0, 0) if seed % 2 else (40, 20, 90)
    for y in range(0, _HEIGHT, line):
        letters = [chr(code) if chance > 0.15 else " " for code, chance in zip(*_letters(random), strict=True)]
        pen.text((5, y), "".join(letters), fill=ink, font_size=max(8, line - 4))
    return page


def _letters(random: np.random.Generator) -> tuple[list[int], list[float]]:
    return random.integers(97, 123, 80).tolist(), random.random(80).tolist()


def _colour(random: np.random.Generator, darkest: int) -> tuple[int, int, int]:
    red, green, blue = random.integers(darkest, 256, 3).tolist()
    return red, green, blue


NOT_SKIN: dict[str, Callable[[int], Image.Image]] = {"shapes": _shape, "noise": _noise, "text": _text}
