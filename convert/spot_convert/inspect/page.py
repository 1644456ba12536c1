"""Render a record as one self-contained HTML page: no scripts, no fonts, no other files.

Bar charts are inline SVG with positions in percent, so that they fit any width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import Any

from spot_convert.inspect.rows import (
    end_rows,
    error_cells,
    facts,
    layer_rows,
    operator_rows,
    summary_of_errors,
    weight_span,
)
from spot_edge.errors import one_line

__all__ = ["Bar", "bars", "from_zero", "page", "signed_logarithm"]

BLUE, PALE, ORANGE, GREY = "#1f5f8b", "#9cc3dd", "#c4542a", "#c9c9c9"
_HEIGHT = 12


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: a bar from one share of the width to another, and optionally a darker bar inside it."""

    name: str
    figure: str
    outer: tuple[float, float]
    inner: tuple[float, float] | None = None
    bold: bool = False


def bars(rows: Iterable[Bar], ticks: Sequence[tuple[float, str]]) -> str:
    """Render rows under an axis with ticks at shares of the width."""
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
    """Return a round number that ends an axis from zero to the largest value."""
    most = max(values, default=0.0)
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= most)


def signed_logarithm(value: float, least: float, most: float) -> float:
    """Return a value's position on an axis from -most to most, logarithmic both ways, with ±least in the middle."""
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


_MAX_DECADES = 8  # of the weights axis; smaller values count as zero
_STYLE = """
body { font: 15px/1.45 Helvetica, Arial, sans-serif; color: #222; background: #fff; max-width: 1100px;
  margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .6rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: #595959; } dd { margin: 0; overflow-wrap: anywhere; }
.words { font-size: 1.05rem; font-weight: bold; margin: 0 0 .8rem; }
p { margin: .3rem 0 .6rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .2rem .42rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e4e4e4; }
th { color: #595959; font-weight: normal; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
.row { display: grid; grid-template-columns: 14rem 1fr 13rem; gap: 0 .8rem; align-items: center; font-size: 13px;
  break-inside: avoid; }
.name { overflow-wrap: anywhere; } .bold { font-weight: bold; color: #a8421c; }
.figure { color: #595959; font-variant-numeric: tabular-nums; } .bar { display: block; overflow: visible; }
.bar text { font-size: 11px; fill: #595959; }
@media screen and (max-width: 720px) {
  dl { grid-template-columns: 1fr; gap: 0; } dt { margin-top: .4rem; }
  .row { grid-template-columns: 1fr auto; margin-bottom: .45rem; font-size: 12px; }
  .row .bar { grid-row: 2; grid-column: 1 / 3; }
  .axis span { display: none; } .figure { text-align: right; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; } .wide { overflow: visible; }
  .row { grid-template-columns: 11rem 1fr 11rem; font-size: 9px; }
  table { font-size: 7.5px; } th, td { padding: .1rem .25rem; } tr { break-inside: avoid; } h2 { break-after: avoid; }
}
"""


def page(record: dict[str, Any]) -> str:
    """Render the whole page."""
    name = one_line(PurePath(record["file"]).name)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(name)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{escape(name)}</h1>",
            *_parts(record),
            "</body>\n</html>\n",
        ]
    )


def _parts(record: dict[str, Any]) -> Iterator[str]:
    yield f'<p class="words">{_text(record["quantization"]["words"])}</p>'
    pairs = [(name, value) for name, value in facts(record) if name != "quantization"]
    yield f"<dl>{''.join(f'<dt>{_text(name)}</dt><dd>{_text(value)}</dd>' for name, value in pairs)}</dl>"
    yield f"<h2>Inputs and outputs</h2>{_table(end_rows(record))}"
    yield f"<h2>Operators</h2>{_table(operator_rows(record))}"
    if record["against"]:
        yield "<h2>Error of each layer</h2>"
        yield from (f"<p>{_text(line)}</p>" for line in summary_of_errors(record))
        yield _error_bars(record)
    if record["layers"]:
        if any(_ranged(layer) for layer in record["layers"]):
            yield "<h2>Weights of each layer</h2>"
            yield (
                "<p>Pale: from the smallest to the largest weight. Dark: the range of the narrowest channel. The axis "
                "is logarithmic in both directions. The spread is the range of the widest channel divided by that of "
                "the narrowest. The larger it is, the more a layer loses if all its channels share one scale.</p>"
            )
            yield _weight_bars(record)
        yield f"<h2>Layers</h2>{_table(layer_rows(record))}"


def _error_bars(record: dict[str, Any]) -> str:
    against = record["against"]
    errors = {error["index"]: error for error in against["errors"] if error["rms"] is not None}
    most = from_zero([error["rms"] for error in errors.values()])
    rows = []
    for layer in record["layers"]:
        if layer["index"] in errors:
            error = errors[layer["index"]]
            ratio, share, _ = error_cells(error)
            figure = f"{share} %, {ratio}{' dB' if error['rms'] else ''}"
            worst = layer["index"] in against["worst"]
            rows.append(Bar(_label(layer), figure, (0.0, min(error["rms"] / most, 1.0)), bold=worst))
    ticks = [(share, f"{100 * most * share:.3g} %") for share in (0.0, 0.5, 1.0)]
    return bars(rows, ticks)


def _weight_bars(record: dict[str, Any]) -> str:
    ranges = {_label(layer): layer["weights"] for layer in record["layers"] if _ranged(layer)}
    widest = {name: max(abs(own["low"]), abs(own["high"])) for name, own in ranges.items()}
    narrowest = {name: widest[name] / own["spread"] for name, own in ranges.items()}
    top = math.ceil(math.log10(max(widest.values())))
    decades = min(top - math.floor(math.log10(min(narrowest.values()))) + 1, _MAX_DECADES)
    most, least = 10.0**top, 10.0 ** (top - decades)

    def reach(low: float, high: float) -> tuple[float, float]:
        return signed_logarithm(low, least, most), signed_logarithm(high, least, most)

    rows = [
        Bar(
            name,
            weight_span(own),
            reach(own["low"], own["high"]),
            reach(max(own["low"], -narrowest[name]), min(own["high"], narrowest[name])),
        )
        for name, own in ranges.items()
    ]
    ticks = [(0.5, "0")]
    for step in range(0, decades, max(1, round(decades / 3))):
        value = 10.0 ** (top - step)
        ticks += zip(reach(-value, value), (f"-{value:g}", f"{value:g}"), strict=True)
    return bars(rows, ticks)


def _ranged(layer: dict[str, Any]) -> bool:
    """Tell whether a layer has readable weights with channels that are not all zero."""
    weights = layer["weights"]
    return weights is not None and weights["spread"] is not None


def _label(layer: dict[str, Any]) -> str:
    return one_line(f"{layer['index']} {layer['short']}")


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [f"<tr>{''.join(f'<th>{_text(cell)}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in body]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _text(words: str) -> str:
    return escape(one_line(words))
