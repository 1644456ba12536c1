"""Pictures that show no skin, drawn by code: shapes, noise and text. No model should answer them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from spot_bench.shapes import SHAPES, draw_shape

__all__ = ["STRANGERS"]

_SIZE = _WIDTH, _HEIGHT = (400, 300)


def _shape(seed: int) -> Image.Image:
    return draw_shape(SHAPES[seed % len(SHAPES)], seed)


def _noise(seed: int) -> Image.Image:
    """In turn: every pixel any colour, grain on one colour, clouds of any colours, and one colour alone."""
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
    """A page of letters: dark ones on white or on a light colour."""
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


STRANGERS: dict[str, Callable[[int], Image.Image]] = {"shapes": _shape, "noise": _noise, "text": _text}
