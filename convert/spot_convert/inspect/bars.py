"""Rows of bars for a page: a name, a figure, and an inline SVG whose places are percentages, to fit any width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Bar", "bars", "from_zero", "signed_logarithm"]

BLUE, PALE, ORANGE, GREY = "#1f5f8b", "#9cc3dd", "#c4542a", "#c9c9c9"
_HEIGHT = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One row. The bar reaches from and to shares of the whole width, and so does a darker one within it."""

    name: str
    figure: str
    outer: tuple[float, float]
    inner: tuple[float, float] | None = None
    bold: bool = False


def bars(rows: Iterable[Bar], ticks: Sequence[tuple[float, str]]) -> str:
    """The rows below one another, under an axis with ticks at shares of the width."""
    labels = "".join(
        f'<text x="{100 * place:.2f}%" y="11" text-anchor="{_anchor(place)}">{escape(label)}</text>'
        for place, label in ticks
    )
    axis = f'<span></span><svg class="bar" width="100%" height="14" aria-hidden="true">{labels}</svg><span></span>'
    grid = "".join(
        f'<line x1="{100 * place:.2f}%" x2="{100 * place:.2f}%" y1="0" y2="{_HEIGHT}" stroke="{GREY}"/>'
        for place, _ in ticks
    )
    return "\n".join(
        ['<div class="bars">', f'<div class="row axis">{axis}</div>', *(_row(r, grid) for r in rows), "</div>"]
    )


def from_zero(values: Sequence[float]) -> float:
    """The end of an axis from zero that holds all the values: a round number."""
    most = max(values, default=0.0)
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= most)


def signed_logarithm(value: float, least: float, most: float) -> float:
    """Where a value lies on an axis from -most to most, logarithmic both ways, whose middle is ±least and below."""
    if abs(value) <= least:
        return 0.5
    return 0.5 + math.copysign(math.log(abs(value) / least) / math.log(most / least), value) / 2


def _row(row: Bar, grid: str) -> str:
    bar = _bar(row.outer, ORANGE if row.bold else BLUE if row.inner is None else PALE)
    if row.inner is not None:
        bar += _bar(row.inner, BLUE)
    marked = ' class="name bold"' if row.bold else ' class="name"'
    return (
        f'<div class="row"><span{marked}>{escape(row.name)}</span>'
        f'<svg class="bar" width="100%" height="{_HEIGHT}" aria-hidden="true">{grid}{bar}</svg>'
        f'<span class="figure">{escape(row.figure)}</span></div>'
    )


def _bar(reach: tuple[float, float], colour: str) -> str:
    left, width = 100 * reach[0], max(100 * (reach[1] - reach[0]), 0.3)
    return f'<rect x="{left:.2f}%" width="{width:.2f}%" y="1" height="{_HEIGHT - 2}" fill="{colour}"/>'


def _anchor(place: float) -> str:
    return "start" if place < 0.02 else "end" if place > 0.98 else "middle"
