"""The chart of all variants: which files it shows, and where."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from experiments.variants.chart import SYSTEM, chart, frontier, spread_out
from experiments.variants.reports import Family, Row

RUNTIME = "ai-edge-litert"


def row(variant: str, size: int, balanced: float | None, count: int | None) -> Row:
    worth = {"value": balanced, "low": balanced - 0.04, "high": balanced + 0.04} if balanced else None
    return Row(
        variant,
        RUNTIME,
        bytes=size,
        instructions={SYSTEM: {"invoke": count} if count else {"refused": "ValueError"}},
        answers=worth and {"balanced_accuracy": worth},
    )


ROWS = (
    row("float32", 9_000_000, 0.75, 89_500_000),
    row("int8", 2_750_000, 0.74, 83_300_000),
    row("int4", 1_300_000, 0.65, None),
    row("dynamic", 2_500_000, None, 112_900_000),
)
FAMILY = Family("1.0", "toy", ROWS, (), None, None, None)


def test_neighbours_are_spread_out_and_no_further() -> None:
    assert spread_out([0, 100, 50], 10) == [0, 100, 50]
    assert spread_out([50, 50], 10) == [45, 55]
    assert spread_out([50, 0, 50, 51], 10) == pytest.approx([40 + 1 / 3, 0, 50 + 1 / 3, 60 + 1 / 3])
    random = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35]
    moved = spread_out(random, 4)
    assert sorted(range(10), key=lambda n: (random[n], n)) == sorted(range(10), key=lambda n: moved[n])
    assert min(b - a for a, b in zip(sorted(moved), sorted(moved)[1:], strict=False)) >= 4 - 1e-9


def test_the_frontier_is_what_nothing_beats() -> None:
    assert frontier([(3, 0.7), (1, 0.5), (2, 0.4), (3, 0.8), (4, 0.8)]) == [(1, 0.5), (3, 0.8)]


def words_in(drawn: str | None) -> list[str]:
    assert drawn is not None
    return [
        "".join(element.itertext()) for element in ElementTree.fromstring(drawn).iter() if element.tag.endswith("text")
    ]


def test_a_file_for_another_runtime_is_not_drawn() -> None:
    elsewhere = [replace(row, runtime="LiteRT.js") if row.variant == "int8" else row for row in ROWS]
    words = words_in(chart([replace(FAMILY, rows=tuple(elsewhere))]))
    assert ("int8" in words, "float32" in words) == (False, True)


def test_the_chart_shows_every_file_that_has_both() -> None:
    words = words_in(chart([FAMILY]))
    assert sorted(words.count(name) for name in ("int4", "int8", "float32")) == [1, 2, 2]  # int4 has no count
    assert "dynamic" not in words
    assert chart([replace(FAMILY, rows=ROWS[:1])]) is None
