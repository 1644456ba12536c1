"""Pieces of HTML: text, figures with their intervals, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from spot_edge.errors import one_line

__all__ = ["Cell", "changed", "lesions_of", "measured", "named", "plain", "table"]

Cell = str  # HTML


def plain(words: object) -> Cell:
    """Text as HTML."""
    return escape(one_line(str(words)))


def named(words: str, explanation: str) -> Cell:
    """A name with what it means below it."""
    return f"{plain(words)}<small>{plain(explanation)}</small>"


def measured(estimate: dict[str, Any] | None) -> Cell:
    """A figure with its interval below it."""
    if estimate is None or estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.3f}{_interval(estimate, '.3f')}"


def changed(estimate: dict[str, Any] | None, *, good: int) -> Cell:
    """A difference with its interval; marked where it is surely for the worse. `good` is +1 where more is better."""
    if estimate is None or estimate["value"] is None:
        return "-"
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    surely_worse = low is not None and high is not None and (high < 0 if good > 0 else low > 0)
    shown = f'<span class="worse">{value:+.3f}</span>' if surely_worse else f"{value:+.3f}"
    return shown + _interval(estimate, "+.3f")


def lesions_of(record: dict[str, Any]) -> Cell:
    """How many lesions, and images."""
    return f"{record['lesions']}<small>{record['images']} images</small>"


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], kind: str = "") -> Cell:
    """A table that scrolls by itself where the page is narrow; a row of one cell is a heading within it."""
    lines = [f"<thead><tr>{''.join(f'<th>{plain(head)}</th>' for head in heads)}</tr></thead>"]
    for row in rows:
        if len(row) == 1:
            lines.append(f'<tr class="band"><td colspan="{len(heads)}"><div>{row[0]}</div></td></tr>')
        else:
            lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>")
    name = f' class="{kind}"' if kind else ""
    return f'<div class="wide"><table{name}>{"".join(lines)}</table></div>'


def _interval(estimate: dict[str, Any], form: str) -> Cell:
    if estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"<small>{estimate['low']:{form}} to {estimate['high']:{form}}</small>"
