"""Chart balanced accuracy against size, and against instructions, for all variants of all families."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.variants.reports import Family, Row
from spot_bench.report.charts import GREY, draw, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SYSTEM", "chart", "frontier", "size_of", "spread_out"]

SYSTEM = "pi4-litert"  # the system whose instructions the chart shows
_WIDTH, _PANEL_HEIGHT = 1000, 400  # pixels
_GAP = 0.0145  # between names, as a share of the width
_MARKERS = "osD^vP"
_FRONTIER = "no file is both cheaper and better. Files of nearly equal cost stand side by side"
_LEADER = {"arrowstyle": "-", "linestyle": ":", "linewidth": 0.6, "color": GREY, "shrinkA": 0, "shrinkB": 0}


@dataclass(frozen=True, slots=True)
class _Dot:
    cost: float
    low: float
    value: float
    high: float
    name: str
    family: int


def chart(families: Sequence[Family]) -> str | None:
    """Return an SVG with one panel for each cost that is known for at least two files; None if there is none."""
    costs: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
        ("file size in MB, compressed where that is smaller", size_of),
        ("million instructions for one image on a Cortex-A72 (Raspberry Pi 4), LiteRT", _instructions),
    )
    found = [(words, _dots(families, cost)) for words, cost in costs]
    panels = [(words, dots) for words, dots in found if len(dots) > 1]
    if not panels:
        return None

    def plot(figure: Figure) -> None:
        for axes, (words, dots) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
            _plot_panel(axes, dots, [f"width {family.width}" for family in families])
            axes.set(xlabel=words, ylabel="balanced accuracy, 95 % interval")
        legend(figure, columns=len(families) + 1)

    return draw(plot, _WIDTH, _PANEL_HEIGHT * len(panels) + 30)


def size_of(row: Row) -> float | None:
    """Return the bytes that a download takes."""
    return min((size for size in (row.bytes, row.compressed) if size), default=None)


def _instructions(row: Row) -> float | None:
    found = row.instructions.get(SYSTEM, {}).get("invoke")
    return None if found is None else float(found)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return those of `points` (cost, worth) that no other point beats in both, by cost."""
    best: list[tuple[float, float]] = []
    for cost, worth in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or worth > best[-1][1]:
            best.append((cost, worth))
    return best


def spread_out(places: Sequence[float], gap: float) -> list[float]:
    """Move `places` as little as possible (in squares) until neighbours are `gap` apart; their order stays."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    blocks: list[tuple[float, int]] = []  # of touching neighbours: the mean place of the first one, and how many
    for index, number in enumerate(order):
        blocks.append((places[number] - gap * index, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [((a * n + b * m) / (n + m), n + m)]
    starts = [start for start, count in blocks for _ in range(count)]
    moved = dict(zip(order, (start + gap * index for index, start in enumerate(starts)), strict=True))
    return [moved[number] for number in range(len(places))]


def _dots(families: Sequence[Family], cost: Callable[[Row], float | None]) -> list[_Dot]:
    """Return the files for the baseline's interpreter: those for others compute the same as one of these."""
    dots = []
    for number, family in enumerate(families):
        for row in (row for row in family.rows if row.runtime == family.rows[0].runtime):
            found, worth = cost(row), row.answers and row.answers["balanced_accuracy"]
            if found and worth and worth["value"] is not None:
                dots.append(_Dot(found / 1e6, worth["low"], worth["value"], worth["high"], row.variant, number))
    return dots


def _plot_panel(axes: Axes, dots: Sequence[_Dot], families: Sequence[str]) -> None:
    logs = [math.log2(dot.cost) for dot in dots]
    low, high = min(logs) - 0.4, max(logs) + 0.4
    axes.set_xscale("log", base=2)
    axes.set_xlim(2**low, 2**high)
    ticks = _ticks(2**low, 2**high)
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    shown = {dot: 2**place for dot, place in zip(dots, spread_out(logs, _GAP * (high - low)), strict=True)}
    for number, family in enumerate(families):
        own = [dot for dot in dots if dot.family == number]
        reach = [[dot.value - dot.low for dot in own], [dot.high - dot.value for dot in own]]
        axes.errorbar(
            [shown[dot] for dot in own], [dot.value for dot in own], reach, color=f"C{number}", linestyle="",
            elinewidth=0.8, marker=_MARKERS[number % len(_MARKERS)], label=family,
        )  # fmt: skip
    best = frontier([(dot.cost, dot.value) for dot in dots])
    edge = [(place, dot.value) for dot, place in shown.items() if (dot.cost, dot.value) in best]
    axes.plot(*zip(*sorted(edge), strict=True), color=GREY, linestyle="--", linewidth=1, label=_FRONTIER)
    for dot, place in shown.items():
        axes.annotate(
            dot.name, (place, dot.high), (place, 1.02), textcoords=("data", "axes fraction"), rotation=60,
            rotation_mode="anchor", fontsize=7.5, color=f"C{dot.family}", arrowprops=_LEADER,
        )  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers on a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    rounds = [factor * 10.0**power for power in powers for factor in (1, 1.5, 2, 3, 5, 7)]
    return [value for value in rounds if low <= value <= high]
