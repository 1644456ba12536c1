"""Write the page and chart of `python -m experiments.frontier`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spot_bench.report.svg import BLUE, GREY, ORANGE, Panel, document, text
from spot_bench.report.tables import figure

__all__ = ["page", "picture"]

_COLOURS = {"float32": BLUE, "int8": ORANGE}
_PAGE = """# Width and resolution

A narrower MobileNetV2 saves size and time, a smaller image saves time. Neither depends on the weights, so the
networks are untrained. Accuracy is given only for the trained ones (HAM10000, test split). int8 was made by
TensorFlow's converter.

![latency against size](frontier.svg)

{table}

Latency is the network alone, without decoding and resizing, as a multiple of the largest float32 file's median. All
files ran in turns, {rounds} rounds, {threads}. Intervals are 95 %. MACs are the multiply-accumulates of the
convolutions.

Measured {date} on {machine}, {runtime}. Command:

    python -m experiments.frontier --out runs/frontier --page docs/reports
"""


def page(members: Sequence[Any], about: dict[str, Any]) -> str:
    """The page `frontier.md`."""
    machine = about["machine"]
    return _PAGE.format(
        table=_table(members),
        rounds=about["rounds"],
        threads="one thread" if about["threads"] == 1 else f"{about['threads']} threads",
        date=about["date"],
        machine=f"{machine['cpu']}, {machine['cores']} cores",
        runtime=about["runtime"],
    )


def _table(members: Sequence[Any]) -> str:
    heads = ["width", "side", "file", "MB", "million MACs", "median ms", "× largest float32", "balanced accuracy"]
    rows = [
        [
            f"{m.width:g}",
            str(m.side),
            m.variant,
            f"{m.bytes / 1e6:.2f}",
            f"{m.macs / 1e6:.0f}",
            f"{m.milliseconds:.2f}",
            figure(m.ratio.as_dict()),
            figure(m.accuracy) if m.accuracy else "",
        ]
        for m in sorted(members, key=lambda m: (m.variant, -m.width, -m.side))
    ]
    rule = ["---:"] * 2 + ["---"] + ["---:"] * 5
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def picture(members: Sequence[Any]) -> str:
    """Latency against size, both logarithmic; a line joins the resolutions of one width."""
    across, up = [math.log2(m.ratio.value) for m in members], [math.log2(m.bytes / 1e6) for m in members]
    panel = Panel(
        64,
        40,
        600,
        360,
        (math.floor(min(across) - 0.3), math.ceil(max(across) + 0.1)),
        (math.floor(min(up) - 0.3), math.ceil(max(up) + 0.1)),
    )
    across_ticks, up_ticks = (
        [(float(n), f"{2.0**n:g}") for n in range(round(low), round(high) + 1)] for low, high in (panel.x, panel.y)
    )
    parts = [
        text(16, 22, "Latency and size of MobileNetV2 by width and resolution", bold=True, size=13),
        *panel.axes(across_ticks, up_ticks, below="latency, as a multiple of the largest float32 file's"),
        text(14, 34, "MB", size=11, colour=GREY),
    ]
    for variant, colour in _COLOURS.items():
        for width in sorted({m.width for m in members}):
            row = sorted((m for m in members if (m.width, m.variant) == (width, variant)), key=lambda m: m.side)
            points = [(math.log2(m.ratio.value), math.log2(m.bytes / 1e6)) for m in row]
            parts.append(panel.line(points, colour, dots=True))
            left = variant == "float32"  # names at the left and words above; of int8 at the right and below
            x, y = panel.place(*points[0 if left else -1])
            name = f"{width:g} {variant}"
            parts.append(text(x - 7 if left else x + 7, y + 4, name, anchor="end" if left else "start", colour=colour))
            for m, point in zip(row, points, strict=True):
                x, y = panel.place(*point)
                said = f"{m.side}" + (f": {m.accuracy['value']:.3f}" if m.accuracy else "")
                parts.append(text(x, y - 7 if left else y + 14, said, anchor="middle", size=9, colour=GREY))
    parts.append(
        text(64, 456, "At the dots: the side in pixels, and balanced accuracy where trained", size=11, colour=GREY)
    )
    return document(700, 470, parts)
