"""Draw small SVG charts: text, lines, and panels with axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["BLUE", "GREY", "INK", "ORANGE", "Panel", "Tick", "document", "rectangle", "round_ticks", "text"]

INK, GREY, BLUE, ORANGE = "#222222", "#6b6b6b", "#1f5f8b", "#c4542a"
_FAINT = "#e4e4e4"

Tick = tuple[float, str]


def document(width: float, height: float, parts: Iterable[str]) -> str:
    """Return a complete SVG on a white background."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
    return "\n".join(
        [
            f'{head}viewBox="0 0 {width:g} {height:g}" font-family="Helvetica, Arial, sans-serif" font-size="12">',
            rectangle(0, 0, width, height, "white"),
            *parts,
            "</svg>\n",
        ]
    )


def text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: float = 12,
    colour: str = INK,
    bold: bool = False,
    turn: float = 0,
) -> str:
    """Draw text at a point, rotated by `turn` degrees clockwise."""
    weight = ' font-weight="bold"' if bold else ""
    turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}" text-anchor="{anchor}"{weight}{turned}>'
        f"{escape(words)}</text>"
    )


def rectangle(x: float, y: float, width: float, height: float, fill: str, stroke: str = "none") -> str:
    """Draw a filled rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}" stroke="{stroke}"/>'


@dataclass(frozen=True, slots=True)
class Panel:
    """An area with axes from `x[0]` to `x[1]` and from `y[0]` (bottom) to `y[1]`."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a point."""
        across, up = (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + self.width * across, self.top + self.height * (1 - up)

    def axes(self, across: Sequence[Tick], up: Sequence[Tick], below: str = "") -> list[str]:
        """Draw grid lines with labels, and the title of the horizontal axis."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for value, label in across:
            x, _ = self.place(value, self.y[0])
            parts += [f'<path d="M{x:.1f} {bottom:.1f}v4" stroke="{GREY}"/>']
            parts += [text(x, bottom + 17, label, anchor="middle", size=11, colour=GREY)]
        for value, label in up:
            _, y = self.place(self.x[0], value)
            parts += [f'<path d="M{self.left:.1f} {y:.1f}H{right:.1f}" stroke="{_FAINT}"/>']
            parts += [text(self.left - 7, y + 4, label, anchor="end", size=11, colour=GREY)]
        parts += [f'<path d="M{self.left:.1f} {bottom:.1f}H{right:.1f}" stroke="{GREY}"/>']
        if below:
            parts += [text(self.left + self.width / 2, bottom + 34, below, anchor="middle", colour=GREY, size=11)]
        return parts

    def line(self, points: Iterable[tuple[float, float]], colour: str, *, dots: bool = False, dash: str = "") -> str:
        """Draw a line through the finite points, optionally with dots."""
        places = [self.place(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        parts = [
            f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="1.8" '
            f'stroke-linejoin="round"{dashes}/>'
        ]
        if dots or len(places) == 1:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in places]
        return "".join(parts)

    def upright(self, x: float, colour: str = GREY) -> str:
        """Draw a dashed vertical line."""
        across, _ = self.place(x, self.y[0])
        return (
            f'<path d="M{across:.1f} {self.top:.1f}v{self.height:.1f}" stroke="{colour}" stroke-dasharray="3 3" '
            'fill="none"/>'
        )


def round_ticks(low: float, high: float, about: int = 5) -> list[Tick]:
    """Return about `about` round numbers from `low` to `high`."""
    if not high > low:
        return [(low, f"{low:g}")]
    rough = (high - low) / about
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(number * step, f"{round(number * step, 10):g}") for number in range(first, last + 1)]
