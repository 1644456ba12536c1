"""Balanced accuracy against size, and against instructions, of all variants of all families, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.variants.reports import Family, Row
from spot_bench.report.svg import BLUE, GREY, ORANGE, Panel, Tick, document, round_ticks, text

__all__ = ["SYSTEM", "apart", "frontier", "picture", "size_of"]

SYSTEM = "pi4-litert"  # whose instructions are drawn
_COLOURS = (BLUE, ORANGE, "#4f7f3a", "#7a4a8c")
_APART = 12  # pixels between files of nearly the same cost
_LEFT, _WIDTH, _HEIGHT, _TOP, _STEP = 56, 900, 230, 170, 400


@dataclass(frozen=True, slots=True)
class _Dot:
    cost: float
    low: float
    value: float
    high: float
    name: str
    family: int


def picture(families: Sequence[Family]) -> str | None:
    """One panel for each cost that is known of two files or more; None where there is none."""
    costs: tuple[tuple[str, Callable[[Row], float | None], float], ...] = (
        ("MB, compressed where that is smaller", size_of, 1e6),
        ("million instructions per image on a Cortex-A72 (Raspberry Pi 4), LiteRT", _instructions, 1e6),
    )
    parts: list[str] = []
    height = 0
    for words, cost, unit in costs:
        dots = _dots(families, cost, unit)
        if len(dots) > 1:
            parts += _panel(dots, words, height + _TOP)
            height += _STEP
    if not parts:
        return None
    heading = [text(_LEFT - 40, 22, "Balanced accuracy of every variant, with 95 % intervals", bold=True, size=13)]
    for number, family in enumerate(families):
        name = f"width {family.width}"
        heading.append(text(_LEFT - 40 + 100 * number, 42, name, colour=_colour(number), bold=True))
    heading.append(text(_LEFT + 110 + 80 * len(families), 42, _CAPTION, size=11, colour=GREY))
    return document(_LEFT + _WIDTH + 60, height + 50, [*heading, *parts])


_CAPTION = "dashed: no file is both cheaper and better than these. Files of nearly one cost are moved side by side"


def size_of(row: Row) -> float | None:
    """The bytes that a download takes."""
    return min((size for size in (row.bytes, row.compressed) if size), default=None)


def _instructions(row: Row) -> float | None:
    found = row.instructions.get(SYSTEM, {}).get("invoke")
    return None if found is None else float(found)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of `points` (cost, worth) that no other beats in both, by cost."""
    best: list[tuple[float, float]] = []
    for cost, worth in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or worth > best[-1][1]:
            best.append((cost, worth))
    return best


def apart(places: Sequence[float], gap: float) -> list[float]:
    """`places`, moved as little as may be (in squares) until each two are `gap` apart; their order stays."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    blocks: list[tuple[float, int]] = []  # where the first of a row of neighbours would stand on average, how many
    for index, number in enumerate(order):
        blocks.append((places[number] - gap * index, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    starts = [start for start, count in blocks for _ in range(count)]
    moved = dict(zip(order, (start + gap * index for index, start in enumerate(starts)), strict=True))
    return [moved[number] for number in range(len(places))]


def _dots(families: Sequence[Family], cost: Callable[[Row], float | None], unit: float) -> list[_Dot]:
    """Of the files for the baseline's interpreter: those for others compute what one of these computes."""
    dots = []
    for number, family in enumerate(families):
        for row in (row for row in family.rows if row.runtime == family.rows[0].runtime):
            found, worth = cost(row), row.answers and row.answers["balanced_accuracy"]
            if found and worth and worth["value"] is not None:
                dots.append(_Dot(found / unit, worth["low"], worth["value"], worth["high"], row.variant, number))
    return dots


def _panel(dots: Sequence[_Dot], words: str, top: float) -> list[str]:
    logs = [math.log2(dot.cost) for dot in dots]
    across = (min(logs) - 0.5, max(logs) + 0.35)
    low, high = min(dot.low for dot in dots), max(dot.high for dot in dots)
    panel = Panel(_LEFT, top, _WIDTH, _HEIGHT, across, (low - 0.01, high + 0.01))
    parts = panel.axes(_ticks(*across), round_ticks(*panel.y), words)
    best = frontier([(dot.cost, dot.value) for dot in dots])
    places = apart([panel.place(cost, 0)[0] for cost in logs], _APART)
    at = {(dot.cost, dot.value): place for dot, place in zip(dots, places, strict=True)}
    joined = " ".join(f"{at[point]:.1f},{panel.place(0, point[1])[1]:.1f}" for point in best)
    parts.append(f'<polyline points="{joined}" fill="none" stroke="{GREY}" stroke-dasharray="5 4"/>')
    for dot, x in zip(dots, places, strict=True):
        ends = [panel.place(0, value)[1] for value in (dot.low, dot.value, dot.high)]
        colour = _colour(dot.family)
        parts.append(f'<path d="M{x:.1f} {ends[0]:.1f}V{ends[2]:.1f}" stroke="{colour}" opacity=".5"/>')
        parts.append(f'<path d="M{x:.1f} {ends[2]:.1f}V{top - 2:.1f}" stroke="{GREY}" stroke-dasharray="1 3"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{ends[1]:.1f}" r="3.6" fill="{colour}"/>')
        parts.append(text(x + 3, top - 6, dot.name, size=10, colour=colour, turn=-60))
    return parts


def _ticks(low: float, high: float) -> list[Tick]:
    """Round numbers on a logarithmic (base 2) axis."""
    powers = range(math.floor(low * math.log10(2)), math.ceil(high * math.log10(2)))
    rounds = [factor * 10.0**power for power in powers for factor in (1, 1.5, 2, 3, 5, 7)]
    return [(math.log2(value), f"{value:g}") for value in rounds if low <= math.log2(value) <= high]


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
