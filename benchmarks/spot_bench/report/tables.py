"""Format figures and tables for a terminal and for Markdown pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["align", "change", "count", "figure", "markdown", "milliseconds", "percent", "points", "short"]


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the columns of `rows`: the first one left, the others right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = (f"{cell:{'>' if place else '<'}{widths[place]}}" for place, cell in enumerate(row))
        lines.append("  ".join([first, *others]).rstrip())
    return lines


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """Make a Markdown table; all columns after the first `words` are right-aligned."""
    rule = ["---"] * words + ["---:"] * (len(heads) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def figure(estimate: dict[str, Any]) -> str:
    """Format an estimate as `0.812 (0.790 to 0.833)`."""
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.3f} ({_plain(estimate['low'])} to {_plain(estimate['high'])})"


def change(estimate: dict[str, Any]) -> str:
    """Format a difference as `+0.012 (-0.003 to +0.027)`."""
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:+.3f} ({_signed(estimate['low'])} to {_signed(estimate['high'])})"


def percent(share: dict[str, Any]) -> str:
    """Format a share in per cent as `12.5 (10.1-15.0)`."""
    if share["value"] is None:
        return "-"
    return f"{100 * share['value']:.1f} ({_hundredfold(share['low'])}-{_hundredfold(share['high'])})"


def points(share: float) -> str:
    """Format a difference in percentage points as `+1.2`; never `-0.0`."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"


def count(hits: int, total: int) -> str:
    """Format a count as `3 of 5`."""
    return f"{hits} of {total}"


def milliseconds(percentile: dict[str, Any]) -> str:
    """Format a percentile in milliseconds as `9.61 (9.58-9.70)`, or `-` with too few samples."""
    if percentile["value"] is None:
        return "-"
    return f"{short(percentile['value'])} ({short(percentile['low'])}-{short(percentile['high'])})"


def short(value: float) -> str:
    """Format a positive figure with three significant digits, or as an integer: 0.052, 9.61, 12.3, 1480."""
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0}f}"


def _hundredfold(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
