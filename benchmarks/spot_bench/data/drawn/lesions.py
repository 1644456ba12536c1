"""Draw images that look like dermatoscope images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from spot_bench.data.drawn.canvas import Colour, Plane, Point, cells, discs, lines, mix, noise, soft_step

__all__ = ["KINDS", "Kind", "draw_lesion"]

Kind: TypeAlias = Literal["nevus", "melanoma", "keratosis", "vascular", "dermatofibroma", "carcinoma"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class _Style:
    """How to draw one kind of lesion."""

    colours: tuple[Colour, Colour, Colour]  # at the rim, between, in the centre
    ragged: float  # how far the outline deviates from an ellipse
    soft: float  # width of the border, as a share of the radius
    patchy: float = 0.25  # how much clouds shift the colours
    network: float = 0.0  # strength of a net of darker threads
    spots: tuple[tuple[Colour, int, float], ...] = ()  # colour, number, radius as a share of the lesion's
    blotch: tuple[Colour, float] | None = None  # a second colour, and its share of the lesion
    vessels: int = 0
    hairs: int = 0


_STYLES: dict[Kind, _Style] = {
    "nevus": _Style(((178, 122, 86), (138, 86, 56), (108, 64, 42)), 0.10, 0.22, network=0.50, hairs=6),
    "melanoma": _Style(
        ((148, 94, 66), (88, 54, 42), (48, 32, 32)),
        0.40,
        0.10,
        patchy=0.6,
        network=0.6,
        spots=(((38, 24, 24), 34, 0.035),),
        blotch=((108, 114, 138), 0.22),
        hairs=3,
    ),
    "keratosis": _Style(
        ((168, 130, 94), (146, 108, 74), (124, 90, 62)),
        0.18,
        0.05,
        patchy=0.4,
        spots=(((226, 206, 172), 34, 0.035), ((82, 56, 40), 22, 0.045)),
        hairs=8,
    ),
    "vascular": _Style(
        ((206, 122, 116), (180, 74, 80), (150, 48, 62)),
        0.14,
        0.12,
        spots=(((142, 26, 42), 46, 0.12), ((86, 18, 48), 12, 0.10)),
    ),
    "dermatofibroma": _Style(
        ((194, 144, 114), (176, 122, 94), (232, 206, 190)), 0.12, 0.36, patchy=0.12, network=0.35, hairs=10
    ),
    "carcinoma": _Style(
        ((222, 164, 148), (218, 154, 142), (212, 148, 140)),
        0.22,
        0.26,
        spots=(((102, 96, 112), 9, 0.07), ((198, 108, 96), 5, 0.10)),
        vessels=9,
    ),
}


def draw_lesion(seed: int, width: int = 600, height: int = 450, kind: Kind = "nevus") -> Image.Image:
    """Draw an image that looks like a dermatoscope image; the same arguments give the same image.

    It only resembles `kind`: a model's prediction for it means nothing.
    """
    random = np.random.default_rng([seed, KINDS.index(kind)])
    style, unit = _STYLES[kind], min(width, height)
    canvas = _skin(random, width, height)
    radius = unit * random.uniform(0.25, 0.33)
    depth = _depth(random, width, height, radius, style.ragged)
    canvas = _pigment(random, canvas, depth, style, unit)
    if style.network:
        canvas = _network(random, canvas, depth, style.network, unit)
    for colour, count, size in style.spots:
        canvas = _spots(random, canvas, depth, colour, count, size * radius)
    canvas = _vessels(random, canvas, depth, style.vessels, unit)
    canvas = _hairs(random, canvas, style.hairs, unit)
    canvas = _lens(random, canvas)
    return Image.fromarray(np.clip(canvas + 0.5, 0, 255).astype(np.uint8), "RGB")


def _skin(random: np.random.Generator, width: int, height: int) -> Plane:
    tones = np.array([(232, 190, 168), (222, 170, 144), (208, 154, 126), (214, 158, 146)], np.float32)
    tone = np.float32(random.dirichlet(np.ones(4))) @ tones
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = random.uniform(0, 2 * math.pi)
    slope = (math.cos(angle) * (x / width - 0.5) + math.sin(angle) * (y / height - 0.5)) * 18
    unit = min(width, height)
    clouds = 5 * noise(random, width, height, unit / 3) + 3 * noise(random, width, height, unit / 45, octaves=2)
    furrows = 5 * cells(random, width, height, unit / 26)
    shade = (slope + clouds - furrows)[:, :, None]
    redness = noise(random, width, height, unit / 5)[:, :, None] * np.array([1, -3, -2], np.float32)
    return np.asarray(tone + shade + redness, np.float32)


def _depth(random: np.random.Generator, width: int, height: int, radius: float, ragged: float) -> Plane:
    """Return the depth of each pixel in the lesion: 1 at its centre, 0 on its outline, negative outside."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    centre = (width * random.uniform(0.46, 0.54), height * random.uniform(0.46, 0.54))
    stray = ragged * radius * 0.5
    x = x - centre[0] + stray * noise(random, width, height, radius / 2)
    y = y - centre[1] + stray * noise(random, width, height, radius / 2)
    turn, stretch = random.uniform(0, math.pi), random.uniform(1.0, 1.35)
    along = (x * math.cos(turn) + y * math.sin(turn)) / math.sqrt(stretch)
    across = (y * math.cos(turn) - x * math.sin(turn)) * math.sqrt(stretch)
    angle = np.arctan2(across, along)
    waves = sum(random.normal() * np.cos(k * angle + random.uniform(0, 2 * math.pi)) / k for k in range(2, 7))
    return np.asarray(1 - np.hypot(along, across) / (radius * (1 + ragged * 0.6 * np.tanh(waves))), np.float32)


def _pigment(random: np.random.Generator, canvas: Plane, depth: Plane, style: _Style, unit: int) -> Plane:
    height, width = depth.shape
    level = np.clip(depth + style.patchy * noise(random, width, height, unit / 7), 0, 1)
    stops = np.array(style.colours)
    colour = np.stack([np.interp(level, (0.0, 0.4, 0.9), stops[:, c]) for c in range(3)], axis=2)
    colour = colour + (4 * noise(random, width, height, unit / 60, octaves=3))[:, :, None]
    cover = soft_step(depth, -style.soft / 2, style.soft)
    canvas = mix(canvas, colour.astype(np.float32), cover * np.float32(0.94))
    if style.blotch:
        second, share = style.blotch
        clouds = noise(random, width, height, unit / 4, octaves=3)
        limit = float(np.quantile(clouds[depth > 0.1], 1 - share))
        canvas = mix(canvas, second, soft_step(clouds, limit - 0.05, limit + 0.35) * soft_step(depth, 0.1, 0.3) * 0.8)
    return canvas


def _network(random: np.random.Generator, canvas: Plane, depth: Plane, strength: float, unit: int) -> Plane:
    """Draw a net of darker threads, strongest between rim and centre."""
    height, width = depth.shape
    threads = cells(random, width, height, unit / 32) ** 2
    patches = 0.5 + 0.6 * noise(random, width, height, unit / 6)
    where = soft_step(depth, -0.05, 0.15) * (1 - 0.75 * soft_step(depth, 0.45, 0.8))
    return np.asarray(canvas * (1 - strength * np.clip(threads * patches * where, 0, 1))[:, :, None], np.float32)


def _spots(random: np.random.Generator, canvas: Plane, depth: Plane, colour: Colour, count: int, size: float) -> Plane:
    height, width = depth.shape
    inside = np.argwhere(depth > 0.12)
    chosen = inside[random.integers(0, len(inside), count)]
    circles = [
        ((float(x), float(y)), size * random.uniform(0.5, 1.3), random.uniform(0.7, 1.4)) for y, x in chosen.tolist()
    ]
    return mix(canvas, colour, discs(width, height, circles, blur=0.16 * size + 0.4) * np.float32(0.8))


def _vessels(random: np.random.Generator, canvas: Plane, depth: Plane, count: int, unit: int) -> Plane:
    """Draw branching red vessels that start inside the lesion."""
    height, width = depth.shape
    inside = np.argwhere(depth > 0.1)
    strokes: list[tuple[list[Point], float]] = []
    for y, x in inside[random.integers(0, len(inside), count)].tolist():
        _branch(random, (float(x), float(y)), random.uniform(0, 2 * math.pi), unit / 110, unit / 45, strokes)
    if not strokes:
        return canvas
    reach = soft_step(depth, -0.15, 0.1) * np.float32(0.75)
    return mix(canvas, (172, 42, 48), lines(width, height, strokes, blur=0.7) * reach)


def _branch(
    random: np.random.Generator,
    start: Point,
    heading: float,
    thickness: float,
    step: float,
    strokes: list[tuple[list[Point], float]],
) -> None:
    """Add one winding stroke to `strokes`, with thinner branches down to half a pixel."""
    points = [start]
    for _ in range(int(random.integers(5, 9))):
        heading += random.normal(0, 0.35)
        points.append((points[-1][0] + step * math.cos(heading), points[-1][1] + step * math.sin(heading)))
        if thickness > 1 and random.random() < 0.3:
            side = heading + random.choice((-1, 1)) * random.uniform(0.5, 1.0)
            _branch(random, points[-1], side, thickness * 0.6, step * 0.8, strokes)
    strokes.append((points, thickness))


def _hairs(random: np.random.Generator, canvas: Plane, most: int, unit: int) -> Plane:
    height, width = canvas.shape[:2]
    strokes: list[tuple[list[Point], float]] = []
    lie = random.uniform(0, math.pi)
    for _ in range(int(random.integers(0, most + 1))):
        middle = np.array([random.uniform(0, width), random.uniform(0, height)])
        heading = lie + random.normal(0, 0.35)
        reach = unit * random.uniform(0.2, 0.6) * np.array([math.cos(heading), math.sin(heading)])
        bend = unit * random.normal(0, 0.10) * np.array([-math.sin(heading), math.cos(heading)])
        t = np.linspace(-1, 1, 40)[:, None]
        curve = middle + t * reach + (1 - t * t) * bend
        strokes.append(([(float(x), float(y)) for x, y in curve], unit * random.uniform(0.003, 0.007)))
    if not strokes:
        return canvas
    return mix(canvas, (52, 36, 30), lines(width, height, strokes, blur=0.5) * np.float32(0.85))


def _lens(random: np.random.Generator, canvas: Plane) -> Plane:
    """Add light that falls off outwards, dark corners, a few reflections, and sensor grain."""
    height, width = canvas.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    away = np.hypot(x - width / 2, y - height / 2) / (0.5 * math.hypot(width, height))
    light = (1.04 - 0.16 * away**2) * (1 - soft_step(away, random.uniform(0.84, 0.90), random.uniform(0.93, 1.0)))
    canvas = canvas * light[:, :, None].astype(np.float32)
    reflections = [
        ((random.uniform(0.2, 0.8) * width, random.uniform(0.2, 0.8) * height), min(width, height) * 0.008, 1.5)
        for _ in range(int(random.integers(0, 4)))
    ]
    if reflections:
        canvas = mix(canvas, (250, 246, 242), discs(width, height, reflections, blur=1.5) * np.float32(0.6))
    return np.asarray(canvas + random.normal(0, 1.6, canvas.shape), np.float32)
