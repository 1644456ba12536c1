"""Drawing tools on float32 planes: smooth noise, soft masks, mixing; and 12-megapixel stills from small images."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

__all__ = [
    "STILL",
    "Colour",
    "Plane",
    "Point",
    "cells",
    "discs",
    "encode_jpeg",
    "large_still",
    "lines",
    "mix",
    "noise",
    "polygon",
    "soft_step",
]

Plane: TypeAlias = NDArray[np.float32]  # [H,W], or [H,W,3] for colours
Colour: TypeAlias = tuple[float, float, float]
Point: TypeAlias = tuple[float, float]

_FINER = 3  # masks are drawn larger by this factor and shrunk, for smooth edges


def noise(random: np.random.Generator, width: int, height: int, cell: float, octaves: int = 4) -> Plane:
    """Return cloudy noise, mostly from -1 to 1, whose largest clouds are about `cell` pixels wide."""
    total, weight = np.zeros((height, width), np.float32), 1.0
    for _ in range(octaves):
        columns, rows = max(2, round(width / cell) + 2), max(2, round(height / cell) + 2)
        grid = Image.fromarray(random.uniform(-1, 1, (rows, columns)).astype(np.float32))
        total += np.float32(weight) * np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
        cell, weight = max(cell / 2, 1.0), weight / 2
    return total


def cells(random: np.random.Generator, width: int, height: int, cell: float) -> Plane:
    """Return a net of round, wavy meshes of `cell` pixels: 1 on its threads, falling to 0 in the holes."""
    rows, columns = int(height / cell) + 4, int(width / cell) + 4
    shift = 0.5 * (np.arange(rows) % 2)[:, None]  # every other row, as in a honeycomb
    centre_x = (np.arange(columns) + shift + random.uniform(-0.32, 0.32, (rows, columns)) - 1) * cell
    centre_y = (np.arange(rows)[:, None] + random.uniform(-0.32, 0.32, (rows, columns)) - 1) * cell
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x = np.clip(x + 0.3 * cell * noise(random, width, height, cell), 0, width)
    y = np.clip(y + 0.3 * cell * noise(random, width, height, cell), 0, height)
    row, column = (y / cell).astype(int) + 1, (x / cell).astype(int) + 1
    nearest = second = np.full((height, width), np.inf, np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            at = (row + down, column + right)
            distance = np.hypot(x - centre_x[at], y - centre_y[at]).astype(np.float32)
            second = np.minimum(second, np.maximum(nearest, distance))
            nearest = np.minimum(nearest, distance)
    return np.asarray(np.clip(1 - (second - nearest) / (0.45 * cell), 0, 1), np.float32)


def discs(width: int, height: int, circles: Iterable[tuple[Point, float, float]], blur: float) -> Plane:
    """Return a mask from 0 to 1 of ellipses, each (centre, radius, aspect), with edges blurred by `blur` pixels."""
    image = Image.new("L", (width * _FINER, height * _FINER))
    pen = ImageDraw.Draw(image)
    for (x, y), radius, aspect in circles:
        wide, high = radius * aspect**0.5, radius / aspect**0.5
        pen.ellipse([_FINER * v for v in (x - wide, y - high, x + wide, y + high)], fill=255)
    return _finish(image, width, height, blur)


def lines(width: int, height: int, strokes: Iterable[tuple[list[Point], float]], blur: float) -> Plane:
    """Return a mask from 0 to 1 of curved strokes, each (points, thickness in pixels)."""
    image = Image.new("L", (width * _FINER, height * _FINER))
    pen = ImageDraw.Draw(image)
    for points, thickness in strokes:
        large = [(x * _FINER, y * _FINER) for x, y in points]
        pen.line(large, fill=255, width=max(1, round(thickness * _FINER)), joint="curve")
    return _finish(image, width, height, blur)


def polygon(width: int, height: int, points: list[Point], blur: float) -> Plane:
    """Return a mask from 0 to 1 of the area within `points`."""
    image = Image.new("L", (width * _FINER, height * _FINER))
    ImageDraw.Draw(image).polygon([(x * _FINER, y * _FINER) for x, y in points], fill=255)
    return _finish(image, width, height, blur)


def encode_jpeg(image: Image.Image, quality: int = 90) -> bytes:
    """Encode `image` as JPEG."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()


def mix(canvas: Plane, colour: Plane | Colour, amount: Plane) -> Plane:
    """Blend `colour` over `canvas` with opacity `amount` (0 to 1)."""
    over = amount[:, :, None]
    return np.asarray(canvas * (1 - over) + np.asarray(colour, np.float32) * over, np.float32)


def soft_step(values: Plane, low: float, high: float) -> Plane:
    """Map values to 0 up to `low`, 1 from `high`, and a smooth rise between."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _finish(image: Image.Image, width: int, height: int, blur: float) -> Plane:
    small = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.filter(ImageFilter.GaussianBlur(blur)), np.float32) / np.float32(255)


STILL = (4000, 3000)
_GRAIN = 5.0  # standard deviation in grey levels; with less, the JPEG would be smaller than a camera's
_MIDDLE = 128


def large_still(image: Image.Image, seed: int = 0) -> bytes:
    """Enlarge `image` (RGB, 4:3) to a JPEG of 4000x3000 with quality 90 and sensor grain: about 2 to 4 MB.

    Bicubic resizing adds no detail. Other seeds give other grain.
    """
    across, down = np.random.default_rng(seed).integers(0, STILL).tolist()
    grain = ImageChops.offset(_grain(), across, down)
    return encode_jpeg(ImageChops.add(image.resize(STILL, Image.Resampling.BICUBIC), grain, 1, -_MIDDLE))


@functools.cache
def _grain() -> Image.Image:
    width, height = STILL
    levels = np.random.default_rng(0).normal(_MIDDLE, _GRAIN, (height, width))
    grey = Image.fromarray(np.clip(levels + 0.5, 0, 255).astype(np.uint8))
    return Image.merge("RGB", (grey, grey, grey))
