"""The style sheet of the page, and pieces of HTML: text, figures with intervals, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from spot_edge.errors import one_line

__all__ = ["STYLE", "Cell", "changed", "lesions_of", "measured", "named", "plain", "table"]

STYLE = """
body { font: 15px/1.45 Helvetica, Arial, sans-serif; color: #222; background: #fff; max-width: 1000px;
  margin: 0 auto; padding: 1rem; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .3rem; } h1, h2, h3 { overflow-wrap: anywhere; break-after: avoid; }
p { margin: .3rem 0 .6rem; max-width: 44rem; overflow-wrap: anywhere; } ul { margin: .3rem 0; padding-left: 1.2rem; }
li { margin: .2rem 0; max-width: 44rem; overflow-wrap: anywhere; } .quiet { color: #595959; font-size: 13px; }
.verdict { border-left: 6px solid; padding: .5rem .8rem; margin: .8rem 0; break-inside: avoid; }
.verdict .words { font-size: 1.1rem; font-weight: bold; margin: 0 0 .3rem; }
.pass { border-color: #2f7d4f; background: #eef6f0; } .fail { border-color: #a32020; background: #fbeeee; }
.undecided { border-color: #b07a10; background: #fbf5e8; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .25rem .5rem; text-align: right; vertical-align: top; border-bottom: 1px solid #e4e4e4;
  font-variant-numeric: tabular-nums; }
th { color: #595959; font-weight: normal; vertical-align: bottom; } td small { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; overflow-wrap: break-word; }
td small { display: block; color: #595959; font-size: 11px; line-height: 1.25; }
td:first-child small { white-space: normal; }
tr.band td { color: #595959; padding-top: .8rem; } tr.band div { width: 0; min-width: 100%; }
tr { break-inside: avoid; } .worse { color: #a32020; font-weight: bold; } .few { color: #595959; }
.beside { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
figure { margin: .4rem 0; break-inside: avoid; max-width: 100%; }
figcaption { font-weight: bold; font-size: 13px; margin-bottom: .2rem; }
svg { max-width: 100%; height: auto; display: block; }
.confusion td, .confusion th { text-align: center; padding: .3rem .2rem; min-width: 2rem; }
.confusion td:first-child { padding-right: .4rem; text-align: left; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr));
  gap: .8rem .6rem; margin: .6rem 0; }
.sheet figure { font-size: 12px; line-height: 1.3; margin: 0; } .sheet img { display: block; width: 120px; height: 90px;
  object-fit: contain; background: #f2f2f2; } .sheet .blank { width: 120px; height: 90px; background: #f2f2f2; }
.sheet .quiet { font-size: 11px; } .sheet span { display: block; overflow-wrap: anywhere; }
@media screen and (max-width: 600px) {
  body { padding: .7rem; font-size: 14px; } th, td { padding: .25rem .3rem; } table { font-size: 12px; }
  td small { font-size: 10px; } .sheet { grid-template-columns: repeat(2, 1fr); }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; } .wide { overflow: visible; } table { font-size: 9px; }
  td small { font-size: 8px; } .quiet, .sheet figure { font-size: 9px; }
  .beside { break-inside: avoid; } h2 { margin-top: 1.4rem; }
  .sheet { grid-template-columns: repeat(5, 1fr); }
  .model { break-before: page; } .model:first-of-type { break-before: auto; }
}
"""


Cell = str  # HTML


def plain(words: object) -> Cell:
    """Escape text for HTML."""
    return escape(one_line(str(words)))


def named(words: str, explanation: str) -> Cell:
    """Show a name with its meaning below it."""
    return f"{plain(words)}<small>{plain(explanation)}</small>"


def measured(estimate: dict[str, Any] | None) -> Cell:
    """Show a figure with its interval below it."""
    if estimate is None or estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.3f}{_interval(estimate, '.3f')}"


def changed(estimate: dict[str, Any] | None, *, good: int) -> Cell:
    """Show a difference with its interval, marked if it is surely worse. `good` is +1 if larger is better."""
    if estimate is None or estimate["value"] is None:
        return "-"
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    surely_worse = low is not None and high is not None and (high < 0 if good > 0 else low > 0)
    shown = f'<span class="worse">{value:+.3f}</span>' if surely_worse else f"{value:+.3f}"
    return shown + _interval(estimate, "+.3f")


def lesions_of(record: dict[str, Any]) -> Cell:
    """Show the number of lesions and images."""
    return f"{record['lesions']}<small>{record['images']} images</small>"


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], kind: str = "") -> Cell:
    """Make a table that scrolls on a narrow page. A row with one cell is a heading."""
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
