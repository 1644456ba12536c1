"""Draw charts with matplotlib as SVG text that needs no other file.

matplotlib is imported only when a chart is drawn: it is in the extra `report`, which a Raspberry Pi does not need.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GREY", "draw", "legend"]

GREY = "#666666"  # for texts and lines that are no data; data takes the colours "C0" to "C5" of the style
_STYLE = Path(__file__).with_name("spot.mplstyle")
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def draw(plot: Callable[[Figure], None], width: float, height: float) -> str:
    """Return what `plot` puts into a figure of width x height CSS pixels as an `<svg>` element.

    Equal input gives equal bytes. Several charts can share a page, because ids depend on the content alone.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    content = io.StringIO()
    with style.context(_STYLE, after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's fonts may have it
        figure = Figure(figsize=(width / 96, height / 96))
        plot(figure)
        figure.savefig(content, format="svg", metadata=_NO_METADATA)
    text = content.getvalue()
    return re.sub(r'<g id="[^"]*"', "<g", text[text.index("<svg") :])


def legend(figure: Figure, columns: int = 2) -> None:
    """Put the legend of the first axes above the chart, outside the data."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=columns)
