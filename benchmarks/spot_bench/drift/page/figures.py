"""The charts of the page: criteria of the verdict, reliability, ROC, accuracy against coverage and cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spot_bench.drift.report import model_title
from spot_bench.report.charts import GREY, draw, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["frontier_svg", "gate_svg", "reliability_svg", "roc_svg", "selective_svg"]

_MOST_MARGINS = {"low": -2, "high": 4}  # ends of the chart of criteria
_BAND = "#e6f0e8"
_VERDICT_COLOURS = {"pass": "#2f7d4f", "undecided": "#b07a10", "fail": "#a32020"}  # as on the page
_SIDE = 320  # pixels: fits a phone
_COLOURS = {"baseline": "C0", "other": "C1"}
_MARKERS = {"baseline": "o", "other": "s"}


def reliability_svg(comparison: dict[str, Any]) -> str:
    """Plot accuracy against top score, in bins of equally many images."""

    def plot(figure: Figure) -> None:
        axes = _shares(figure, "top score (mean of a bin)", "accuracy")
        axes.axline((0, 0), (1, 1), color=GREY, linestyle=":", linewidth=1)
        _accuracies(axes, comparison, "reliability", "score")
        legend(figure, columns=1)

    return draw(plot, _SIDE, _SIDE + 40)


def roc_svg(comparison: dict[str, Any]) -> str:
    """Plot sensitivity for malignant lesions against false alarms, with a ring at each operating point."""

    def plot(figure: Figure) -> None:
        axes = _shares(figure, "false alarms (1 - specificity)", "malignant sensitivity")
        axes.axline((0, 0), (1, 1), color=GREY, linestyle=":", linewidth=1)
        for key, colour in _COLOURS.items():
            summary = comparison[key]
            curve = [(point["false_positive_rate"], point["sensitivity"]) for point in summary["roc"]]
            axes.plot(*zip(*curve, strict=True), color=colour, label=_name(summary))
            for point in summary["operating_points"].values():
                place = 1 - point["specificity"]["value"], point["sensitivity"]["value"]
                axes.plot(*place, marker="o", markersize=7, fillstyle="none", color=colour)
        legend(figure, columns=1)

    return draw(plot, _SIDE, _SIDE + 40)


def selective_svg(comparison: dict[str, Any]) -> str:
    """Plot accuracy against coverage: the share of images kept, those with the highest top scores first."""

    def plot(figure: Figure) -> None:
        axes = _shares(figure, "coverage (share of images kept)", "accuracy")
        least = min(found["accuracy"]["low"] for key in _COLOURS for found in comparison[key]["selective"])
        axes.set_ylim(int(10 * least) / 10, 1.01)
        _accuracies(axes, comparison, "selective", "share")
        legend(figure, columns=1)

    return draw(plot, _SIDE, _SIDE + 40)


def gate_svg(comparison: dict[str, Any]) -> str:
    """Plot each criterion of the gate: the margin as a band, the interval of the loss as a bar.

    Criteria have margins of different widths, so every loss is shown in multiples of its own margin, with a limit.
    """
    criteria = comparison["verdict"]["criteria"]

    least, most = _MOST_MARGINS.values()

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvspan(least, 1, color=_BAND, linewidth=0)
        axes.axvline(1, color=GREY, linewidth=1)
        axes.axvline(0, color=GREY, linewidth=1, linestyle=":")
        for row, c in enumerate(criteria):
            margin, colour = max(c["margin"], 1e-9), _VERDICT_COLOURS[c["verdict"]]
            low, value, high = (min(max(c[key] / margin, least), most) for key in ("low", "worse_by", "high"))
            axes.plot([low, high], [row, row], color=colour, linewidth=7, solid_capstyle="butt")
            if least < c["worse_by"] / margin < most:
                axes.plot(value, row, marker="|", markersize=14, markeredgewidth=2, color="#222222")
            if low == least:
                axes.plot(least, row, marker="<", markersize=8, color=colour, clip_on=False)
            if high == most:
                axes.plot(most, row, marker=">", markersize=8, color=colour, clip_on=False)
        axes.set_yticks(
            range(len(criteria)),
            [f"{c['name']}\n{c['verdict']}, margin {100 * c['margin']:.1f} points" for c in criteria],
        )
        axes.set_ylim(len(criteria) - 0.4, -0.6)
        axes.set_xlim(least, most)
        axes.set_xticks(range(least, most + 1))
        axes.grid(False, axis="y")
        axes.set_xlabel("better  ←  loss, in multiples of the margin  →  worse")

    return draw(plot, 560, 70 + 44 * max(len(criteria), 1))


def frontier_svg(report: dict[str, Any]) -> str | None:
    """Plot balanced accuracy against time, or against size if times are unknown; None if both are.

    A dot's area is the size of its file.
    """
    times = report["latency"]["models"] if report["latency"] else [None] * len(report["bytes"])
    sizes = [size / 1e6 if size else None for size in report["bytes"]]
    milliseconds = [time["rows_ms"]["total"]["p50"]["value"] if time else None for time in times]
    timed = any(milliseconds)
    summaries = [report["comparisons"][0]["baseline"], *(c["other"] for c in report["comparisons"])]
    shown = [
        (cost, size, summary)
        for cost, size, summary in zip(milliseconds if timed else sizes, sizes, summaries, strict=True)
        if cost
    ]
    if len(shown) < 2:
        return None

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (cost, size, summary) in enumerate(shown):
            found = summary["balanced_accuracy"]
            colour = "C0" if summary is summaries[0] else "C1"
            axes.plot([cost, cost], [found["low"], found["high"]], color=colour, alpha=0.6)
            axes.scatter(cost, found["value"], s=12 * (size or 1), color=colour, alpha=0.85, linewidth=0)
            # Names alternate above and below their interval, because similar files are side by side.
            end, shift, side = ("high", 3, "bottom") if number % 2 else ("low", -3, "top")
            axes.annotate(
                _name(summary), (cost, found[end]), (0, shift), textcoords="offset points", ha="center", va=side,
                color=colour, fontsize="small",
            )  # fmt: skip
        axes.set_xlim(0, 1.3 * max(cost for cost, *_ in shown))
        axes.margins(y=0.15)
        axes.set_xlabel("milliseconds per image (median)" if timed else "file size in MB")
        axes.set_ylabel("balanced accuracy")

    return draw(plot, 560, 340)


def _name(summary: dict[str, Any]) -> str:
    return model_title(summary)[:44]  # as much as fits into the width of a chart


def _shares(figure: Figure, across: str, up: str) -> Axes:
    axes = figure.subplots()
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel=across, ylabel=up)
    return axes


def _accuracies(axes: Axes, comparison: dict[str, Any], curve: str, across: str) -> None:
    """Draw both models' accuracies with their intervals."""
    for key, colour in _COLOURS.items():
        found = comparison[key][curve]
        values = [record["accuracy"]["value"] for record in found]
        reach = [
            [value - record["accuracy"]["low"] for value, record in zip(values, found, strict=True)],
            [record["accuracy"]["high"] - value for value, record in zip(values, found, strict=True)],
        ]
        axes.errorbar(
            [record[across] for record in found], values, [[max(d, 0) for d in ends] for ends in reach],
            color=colour, marker=_MARKERS[key], elinewidth=1, label=_name(comparison[key]),
        )  # fmt: skip
