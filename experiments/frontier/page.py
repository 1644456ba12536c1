"""Write the page and chart of `python -m experiments.frontier`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spot_bench.report.charts import GREY, draw, legend
from spot_bench.report.tables import figure
from spot_edge.model.old_names import current_report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["chart", "page", "trained_accuracy"]

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


def trained_accuracy(trained: Sequence[dict[str, Any]], width: float, side: int, variant: str) -> dict[str, Any] | None:
    """The balanced accuracy of a network from its drift report, if it is one of those `trained`."""
    for entry in trained:
        if (entry["width"], entry["side"]) == (width, side):
            report = current_report(json.loads(Path(entry["report"]).read_text(encoding="utf-8")))
            for comparison in report["comparisons"]:
                for found in (comparison["baseline"], comparison["other"]):
                    if found["model"]["variant"] == variant:
                        return dict(found["balanced_accuracy"])
    return None


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


def chart(members: Sequence[Any]) -> str:
    """Plot size against latency, both logarithmic, as SVG; a line joins the resolutions of one width."""

    def plot(figure: Figure) -> None:
        axes = figure.subplots()
        for variant, colour, marker in (("float32", "C0", "o"), ("int8", "C1", "s")):
            for number, width in enumerate(sorted({m.width for m in members})):
                row = sorted((m for m in members if (m.width, m.variant) == (width, variant)), key=lambda m: m.side)
                latencies, sizes = [m.ratio.value for m in row], [m.bytes / 1e6 for m in row]
                label = variant if not number else None
                axes.plot(latencies, sizes, color=colour, marker=marker, label=label)
                left = variant == "float32"  # names at the left, sides above; for int8 at the right and below
                end, shift, side = (0, -7, "right") if left else (-1, 7, "left")
                axes.annotate(
                    f"{width:g}", (latencies[end], sizes[end]), (shift, 0), textcoords="offset points", ha=side,
                    va="center", color=colour,
                )  # fmt: skip
                for m, x, y in zip(row, latencies, sizes, strict=True):
                    words = f"{m.side}" + (f": {m.accuracy['value']:.3f}" if m.accuracy else "")
                    axes.annotate(
                        words, (x, y), (0, 5 if left else -5), textcoords="offset points", ha="center",
                        va="bottom" if left else "top", fontsize=7.5, color=GREY,
                    )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.margins(0.12)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.set(xlabel="latency, as a multiple of the largest float32 file's", ylabel="file size in MB")
        axes.set_title(
            "Beside each line: the width. At the dots: the side in pixels, and balanced accuracy where trained",
            fontweight="normal", fontsize=8, color=GREY,
        )  # fmt: skip
        legend(figure)

    return draw(plot, 760, 500)
