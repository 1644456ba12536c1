"""Render a record as one self-contained HTML page: no scripts, no fonts, no other files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from spot_bench.report.html import render
from spot_convert.inspect.rows import (
    end_rows,
    error_cells,
    facts,
    layer_rows,
    operator_rows,
    summary_of_errors,
    weight_span,
)

__all__ = ["page"]

_MAX_DECADES = 8  # of the weights axis; smaller values count as zero

Reach = tuple[float, float]  # from one share of the width to another


@dataclass(frozen=True, slots=True)
class _Bar:
    """One row: overlaid bars, the last one darkest."""

    name: str
    figure: str
    reaches: Sequence[Reach]
    bold: bool = False


@dataclass(frozen=True, slots=True)
class _Chart:
    """Rows of bars under an axis with ticks at shares of the width."""

    bars: Sequence[_Bar]
    ticks: Sequence[tuple[float, str]]


def page(record: dict[str, Any]) -> str:
    """Render the whole page."""
    return render(
        Path(__file__).with_name("page.html.j2"),
        title=PurePath(record["file"]).name,
        record=record,
        facts=facts(record),
        end_rows=end_rows(record),
        operator_rows=operator_rows(record),
        summary_of_errors=summary_of_errors(record) if record["against"] else (),
        errors=_errors(record) if record["against"] else None,
        weights=_weights(record),
        layer_rows=layer_rows(record) if record["layers"] else (),
    )


def _errors(record: dict[str, Any]) -> _Chart:
    against = record["against"]
    errors = {error["index"]: error for error in against["errors"] if error["rms"] is not None}
    most = _round_up(max((error["rms"] for error in errors.values()), default=0.0))
    bars = []
    for layer in record["layers"]:
        if layer["index"] in errors:
            error = errors[layer["index"]]
            ratio, share, _ = error_cells(error)
            figure = f"{share} %, {ratio}{' dB' if error['rms'] else ''}"
            reach = (0.0, min(error["rms"] / most, 1.0))
            bars.append(_Bar(_label(layer), figure, [reach], bold=layer["index"] in against["worst"]))
    return _Chart(bars, [(share, f"{100 * most * share:.3g} %") for share in (0.0, 0.5, 1.0)])


def _weights(record: dict[str, Any]) -> _Chart | None:
    """Return the ranges of the weights of all layers that have readable weights with channels that are not all zero."""
    ranges = {
        _label(layer): layer["weights"]
        for layer in record["layers"] or ()
        if layer["weights"] is not None and layer["weights"]["spread"] is not None
    }
    if not ranges:
        return None
    widest = {name: max(abs(own["low"]), abs(own["high"])) for name, own in ranges.items()}
    narrowest = {name: widest[name] / own["spread"] for name, own in ranges.items()}
    top = math.ceil(math.log10(max(widest.values())))
    decades = min(top - math.floor(math.log10(min(narrowest.values()))) + 1, _MAX_DECADES)
    most, least = 10.0**top, 10.0 ** (top - decades)

    def reach(low: float, high: float) -> Reach:
        return _signed_logarithm(low, least, most), _signed_logarithm(high, least, most)

    bars = []
    for name, own in ranges.items():
        inner = max(own["low"], -narrowest[name]), min(own["high"], narrowest[name])
        bars.append(_Bar(name, weight_span(own), [reach(own["low"], own["high"]), reach(*inner)]))
    ticks = [(0.5, "0")]
    for step in range(0, decades, max(1, round(decades / 3))):
        value = 10.0 ** (top - step)
        ticks += zip(reach(-value, value), (f"-{value:g}", f"{value:g}"), strict=True)
    return _Chart(bars, ticks)


def _round_up(value: float) -> float:
    """Return a round number that ends an axis from zero to `value`."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def _signed_logarithm(value: float, least: float, most: float) -> float:
    """Return a value's position on an axis from -most to most, logarithmic both ways, with ±least in the middle."""
    if abs(value) <= least:
        return 0.5
    return 0.5 + math.copysign(math.log(abs(value) / least) / math.log(most / least), value) / 2


def _label(layer: dict[str, Any]) -> str:
    return f"{layer['index']} {layer['short']}"
