"""Confusion matrices as shaded tables."""

from __future__ import annotations

from typing import Any

from spot_bench.page.cells import Cell, plain

__all__ = ["confusion_table"]

_RIGHT, _WRONG = (31, 95, 139), (196, 84, 42)
_DARK = 0.75  # shares above are written in white


def confusion_table(confusion: dict[str, Any]) -> Cell:
    """Images by true class (rows) and first answer (columns); the darker, the larger the share of the true class."""
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
