"""A record as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.tables import align
from spot_convert.inspect.rows import end_rows, facts, layer_rows, operator_rows, summary_of_errors
from spot_edge.errors import one_line

__all__ = ["record_lines"]


def record_lines(record: dict[str, Any]) -> Iterator[str]:
    """All that was found, tables below the summary; what a file says of itself cannot disturb the terminal."""
    yield from map(one_line, _lines(record))


def _lines(record: dict[str, Any]) -> Iterator[str]:
    yield record["file"]
    pairs = list(facts(record))
    width = max(len(name) for name, _ in pairs)
    yield from (f"{name:<{width}}  {value}" for name, value in pairs)
    yield ""
    yield from align(end_rows(record))
    yield ""
    yield from align(operator_rows(record))
    if record["layers"]:
        yield ""
        yield from align(layer_rows(record))
    if record["against"]:
        yield ""
        yield from summary_of_errors(record)
