"""What each model file costs against what it achieves, as SVG."""

from __future__ import annotations

import math
from typing import Any

from spot_bench.report import called
from spot_bench.svg import BLUE, GREY, ORANGE, Panel, document, round_ticks, text

__all__ = ["frontier_svg"]


def frontier_svg(report: dict[str, Any]) -> str | None:
    """Balanced accuracy against the time for an answer, or against size where times are not known; None for neither.

    A dot's area is the size of its file.
    """
    times = report["latency"]["models"] if report["latency"] else [None] * len(report["bytes"])
    sizes = [size / 1e6 if size else None for size in report["bytes"]]
    milliseconds = [time["rows_ms"]["total"]["p50"]["value"] if time else None for time in times]
    timed = any(milliseconds)
    summaries = [report["comparisons"][0]["baseline"], *(c["other"] for c in report["comparisons"])]
    colours = [BLUE, *[ORANGE] * len(report["comparisons"])]
    shown = [
        (cost, summary["balanced_accuracy"], size, called(summary), colour)
        for cost, summary, size, colour in zip(milliseconds if timed else sizes, summaries, sizes, colours, strict=True)
        if cost
    ]
    if len(shown) < 2:
        return None
    low, high = min(found["low"] for _, found, *_ in shown), max(found["high"] for _, found, *_ in shown)
    panel = Panel(44, 24, 330, 220, (0.0, 1.25 * max(cost for cost, *_ in shown)), (low - 0.02, high + 0.02))
    below = "milliseconds for an answer (median)" if timed else "MB"
    parts = [*panel.axes(round_ticks(*panel.x), round_ticks(*panel.y), below)]
    parts.append(text(44, 12, "balanced accuracy; a dot's area is the file's size", size=11, colour=GREY))
    for index, (cost, found, size, name, colour) in enumerate(shown):
        x, y = panel.place(cost, found["value"])
        tops = [panel.place(cost, found[end])[1] for end in ("low", "high")]
        parts.append(f'<path d="M{x:.1f} {tops[0]:.1f}V{tops[1]:.1f}" stroke="{colour}" opacity=".45"/>')
        radius = 2 * math.sqrt(size or 1)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colour}" opacity=".8"/>')
        # Names take turns above and below their whisker: files that differ little lie side by side.
        place = tops[1] - 4 if index % 2 else tops[0] + 12
        parts.append(text(x, place, name, anchor="middle", size=10, colour=colour))
    return document(400, 286, parts)
