"""Charts of the page as SVG (reliability, ROC, selective, frontier) and confusion matrices as shaded tables."""

from __future__ import annotations

import math
from typing import Any

from spot_bench.drift.page.html import Cell, plain
from spot_bench.drift.report import model_title
from spot_bench.report.svg import BLUE, GREY, ORANGE, Panel, document, round_ticks, text

__all__ = ["confusion_table", "frontier_svg", "reliability_svg", "roc_svg", "selective_svg"]

_TICKS = round_ticks(0, 1)
_COLOURS = {"baseline": BLUE, "other": ORANGE}
_SHIFT = {"baseline": -1.2, "other": 1.2}  # pixels, so that the bars of the two do not overlap


def reliability_svg(comparison: dict[str, Any], names: dict[str, str]) -> str:
    """Plot accuracy against top score, in bins of equally many images."""
    panel = _panel()
    parts = [*panel.axes(_TICKS, _TICKS, "top score (mean of a bin)"), _diagonal(panel), *_key(names)]
    for key, colour in _COLOURS.items():
        parts += _accuracies(panel, comparison[key]["reliability"], "score", colour, _SHIFT[key])
    return document(340, 360, parts)


def roc_svg(comparison: dict[str, Any], names: dict[str, str]) -> str:
    """Plot sensitivity for malignant lesions against false alarms, with a ring at each operating point."""
    panel = _panel()
    parts = [*panel.axes(_TICKS, _TICKS, "false alarms"), _diagonal(panel), *_key(names)]
    for key, colour in _COLOURS.items():
        points = [(point["false_positive_rate"], point["sensitivity"]) for point in comparison[key]["roc"]]
        parts.append(panel.line(points, colour))
        for point in comparison[key]["operating_points"].values():
            x, y = panel.place(1 - point["specificity"]["value"], point["sensitivity"]["value"])
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            )
    return document(340, 360, parts)


def selective_svg(comparison: dict[str, Any], names: dict[str, str]) -> str:
    """Plot accuracy against coverage: the share of images kept, those with the highest top scores first."""
    least = min(found["accuracy"]["low"] for key in _COLOURS for found in comparison[key]["selective"])
    low = int(10 * least) / 10
    panel = Panel(34, 44, 290, 270, (0.0, 1.0), (low, 1.0))
    parts = [*panel.axes(_TICKS, round_ticks(low, 1), "share of images kept"), *_key(names)]
    for key, colour in _COLOURS.items():
        parts += _accuracies(panel, comparison[key]["selective"], "share", colour, _SHIFT[key])
    return document(340, 360, parts)


def _accuracies(panel: Panel, curve: list[dict[str, Any]], across: str, colour: str, shift: float) -> list[str]:
    """Draw a line through the accuracies, with a bar for each interval."""
    parts = [panel.line([(found[across], found["accuracy"]["value"]) for found in curve], colour, dots=True)]
    for found in curve:
        x, low = panel.place(found[across], found["accuracy"]["low"])
        _, high = panel.place(found[across], found["accuracy"]["high"])
        parts.append(f'<path d="M{x + shift:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" opacity=".45"/>')
    return parts


def _panel() -> Panel:
    return Panel(34, 44, 290, 270, (0.0, 1.0), (0.0, 1.0))


def _diagonal(panel: Panel) -> str:
    return panel.line([(0, 0), (1, 1)], "#bbbbbb", dash="3 3")


def _key(names: dict[str, str]) -> list[str]:
    """Draw the legend."""
    parts = []
    for row, (key, colour) in enumerate(_COLOURS.items()):
        y = 12 + 17 * row
        parts += [f'<path d="M34 {y - 4}h18" stroke="{colour}" stroke-width="2.5"/>']
        parts += [text(58, y, names[key][:44], size=11, colour=GREY)]
    return parts


_RIGHT, _WRONG = (31, 95, 139), (196, 84, 42)
_DARK = 0.75  # shares above it are written in white


def confusion_table(confusion: dict[str, Any]) -> Cell:
    """Show images by true class (rows) and top class (columns); darker means a larger share of the true class."""
    labels, rows = confusion["labels"], confusion["rows"]
    lines = [f"<tr><th></th>{''.join(f'<th>{plain(label)}</th>' for label in labels)}</tr>"]
    for row, label in enumerate(labels):
        cells = [_cell(count, sum(rows[row]), row == column) for column, count in enumerate(rows[row])]
        lines.append(f"<tr><td>{plain(label)}</td>{''.join(cells)}</tr>")
    return f'<div class="wide"><table class="confusion">{"".join(lines)}</table></div>'


def _cell(count: int, total: int, right: bool) -> Cell:
    if not count:
        return "<td></td>"
    share = count / total
    ground = ",".join(str(round(255 - (255 - part) * share)) for part in (_RIGHT if right else _WRONG))
    return f'<td style="background:rgb({ground});color:{"#fff" if share > _DARK else "#222"}">{count}</td>'


def frontier_svg(report: dict[str, Any]) -> str | None:
    """Plot balanced accuracy against time, or against size if times are unknown; None if both are.

    A dot's area is the size of its file.
    """
    times = report["latency"]["models"] if report["latency"] else [None] * len(report["bytes"])
    sizes = [size / 1e6 if size else None for size in report["bytes"]]
    milliseconds = [time["rows_ms"]["total"]["p50"]["value"] if time else None for time in times]
    timed = any(milliseconds)
    summaries = [report["comparisons"][0]["baseline"], *(c["other"] for c in report["comparisons"])]
    colours = [BLUE, *[ORANGE] * len(report["comparisons"])]
    shown = [
        (cost, summary["balanced_accuracy"], size, model_title(summary), colour)
        for cost, summary, size, colour in zip(milliseconds if timed else sizes, summaries, sizes, colours, strict=True)
        if cost
    ]
    if len(shown) < 2:
        return None
    low, high = min(found["low"] for _, found, *_ in shown), max(found["high"] for _, found, *_ in shown)
    panel = Panel(44, 24, 330, 220, (0.0, 1.25 * max(cost for cost, *_ in shown)), (low - 0.02, high + 0.02))
    below = "milliseconds per image (median)" if timed else "MB"
    parts = [*panel.axes(round_ticks(*panel.x), round_ticks(*panel.y), below)]
    parts.append(text(44, 12, "balanced accuracy; a dot's area is the file's size", size=11, colour=GREY))
    for index, (cost, found, size, name, colour) in enumerate(shown):
        x, y = panel.place(cost, found["value"])
        tops = [panel.place(cost, found[end])[1] for end in ("low", "high")]
        parts.append(f'<path d="M{x:.1f} {tops[0]:.1f}V{tops[1]:.1f}" stroke="{colour}" opacity=".45"/>')
        radius = 2 * math.sqrt(size or 1)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" opacity=".8"/>')
        # Names alternate above and below their whisker, because similar files are side by side.
        place = tops[1] - 4 if index % 2 else tops[0] + 12
        parts.append(text(x, place, name, anchor="middle", size=10, colour=colour))
    return document(400, 286, parts)
