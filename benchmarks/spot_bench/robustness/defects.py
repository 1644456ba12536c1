"""Simulate capture defects: focus, motion, light, glare, fog, distance.

The strengths were fixed before any threshold was tuned. Lengths are shares of the image's width and light is in stops
(doublings of linear light), so that they mean the same for every camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from spot_bench.data.drawn.canvas import discs

__all__ = ["DEFECTS", "Defect", "light_levels", "moved", "out_of_focus"]

Change: TypeAlias = Callable[[Image.Image, np.random.Generator], Image.Image]
_WHITE, _FOG, _DARK = (255.0, 253.0, 248.0), (214.0, 214.0, 214.0), (4.0, 4.0, 4.0)


@dataclass(frozen=True, slots=True)
class Defect:
    """A capture defect and its strength."""

    kind: str
    severity: str  # "mild": still usable; "strong": must be rejected
    change: Change = field(repr=False)

    @property
    def name(self) -> str:
        """Severity and kind."""
        return f"{self.severity} {self.kind}"

    def apply(self, image: Image.Image, seed: int = 0) -> Image.Image:
        """Return `image` (RGB) with the defect; `seed` determines its direction or position."""
        return self.change(image, np.random.default_rng(seed))


def out_of_focus(sigma: float) -> Change:
    """Blur with a Gaussian of this standard deviation."""
    return lambda image, random: image.filter(ImageFilter.GaussianBlur(sigma * image.width))


def moved(length: float) -> Change:
    """Blur along a straight line of random direction."""

    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        angle, steps = random.uniform(0, math.pi), max(2, math.ceil(length * image.width))
        rim = steps // 2 + 1
        wide = np.pad(np.asarray(image, np.float32), ((rim, rim), (rim, rim), (0, 0)), mode="reflect")
        total = np.zeros((image.height, image.width, 3), np.float32)
        for place in np.linspace(-0.5, 0.5, steps) * length * image.width:
            x, y = rim + round(place * math.cos(angle)), rim + round(place * math.sin(angle))
            total += wide[y : y + image.height, x : x + image.width]
        return _image(total / np.float32(steps))

    return change


def light_levels(stops: float) -> list[int]:
    """Return what each of the 256 levels becomes with `stops` more light, clipped at white."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4) * 2**stops
    again = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    table: list[int] = np.clip(np.round(255 * again), 0, 255).astype(int).tolist()
    return table


def _exposed(stops: float) -> Change:
    table = light_levels(stops)
    return lambda image, random: image.point(3 * table)


def _glare(share: float) -> Change:
    """Add five white reflections of a lamp that together cover about `share` of the image."""

    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        width, height = image.size
        radius = math.sqrt(share * width * height / (5 * math.pi))
        circles = [
            ((random.uniform(0.25, 0.75) * width, random.uniform(0.25, 0.75) * height), radius, random.uniform(0.5, 2))
            for _ in range(5)
        ]
        return _laid(image, _WHITE, discs(width, height, circles, blur=radius / 4))

    return change


def _fogged(share: float) -> Change:
    """Look through fogged glass: washed out and slightly soft."""

    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        soft = image.filter(ImageFilter.GaussianBlur(0.005 * image.width))
        return Image.blend(soft, Image.new("RGB", image.size, tuple(map(int, _FOG))), share)

    return change


def _far(diameter: float) -> Change:
    """Shrink the round field of view to `diameter`, a share of the image's width, on a dark background."""

    def change(image: Image.Image, random: np.random.Generator) -> Image.Image:
        width, height = image.size
        inner = max(8, round(diameter * width))
        small = image.resize((inner, max(6, round(inner * height / width))), Image.Resampling.BILINEAR)
        canvas = Image.new("RGB", image.size, tuple(map(int, _DARK)))
        canvas.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
        circle = [((width / 2, height / 2), small.height / 2, 1.0)]
        return _laid(canvas, _DARK, 1 - discs(width, height, circle, blur=0.004 * width))

    return change


def _laid(image: Image.Image, colour: tuple[float, float, float], amount: NDArray[np.float32]) -> Image.Image:
    below = np.asarray(image, np.float32)
    return _image(below + (np.asarray(colour, np.float32) - below) * amount[:, :, None])


def _image(values: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))


DEFECTS = (
    Defect("blur", "mild", out_of_focus(0.004)),
    Defect("blur", "strong", out_of_focus(0.016)),
    Defect("motion", "mild", moved(0.012)),
    Defect("motion", "strong", moved(0.06)),
    Defect("over-exposure", "mild", _exposed(0.7)),
    Defect("over-exposure", "strong", _exposed(2.0)),
    Defect("under-exposure", "mild", _exposed(-1.0)),
    Defect("under-exposure", "strong", _exposed(-3.0)),
    Defect("glare", "mild", _glare(0.01)),
    Defect("glare", "strong", _glare(0.12)),
    Defect("fog", "mild", _fogged(0.25)),
    Defect("fog", "strong", _fogged(0.8)),
    Defect("distance", "mild", _far(0.9)),
    Defect("distance", "strong", _far(0.4)),
)
