"""The reliability, ROC and selective curves of two models as SVG."""

from __future__ import annotations

from typing import Any

from spot_bench.svg import BLUE, GREY, ORANGE, Panel, document, round_ticks, text

__all__ = ["reliability_svg", "roc_svg", "selective_svg"]

_TICKS = round_ticks(0, 1)
_COLOURS = {"baseline": BLUE, "other": ORANGE}
_SHIFT = {"baseline": -1.2, "other": 1.2}  # pixels, so that bars of the two do not hide one another


def reliability_svg(comparison: dict[str, Any], names: dict[str, str]) -> str:
    """How often the first answer is right, against its score, in bins of equally many images."""
    panel = _panel()
    parts = [*panel.axes(_TICKS, _TICKS, "score of the first answer (mean of a bin)"), _diagonal(panel), *_key(names)]
    for key, colour in _COLOURS.items():
        parts += _shares_right(panel, comparison[key]["reliability"], "score", colour, _SHIFT[key])
    return document(340, 360, parts)


def roc_svg(comparison: dict[str, Any], names: dict[str, str]) -> str:
    """Sensitivity for malignant lesions against false alarms, with a ring at each operating point."""
    panel = _panel()
    parts = [*panel.axes(_TICKS, _TICKS, "false alarms among the others"), _diagonal(panel), *_key(names)]
    for key, colour in _COLOURS.items():
        points = [(point["false_positive_rate"], point["sensitivity"]) for point in comparison[key]["roc"]]
        parts.append(panel.line(points, colour))
        for point in comparison[key]["operating_points"].values():
            x, y = panel.place(1 - point["specificity"]["value"], point["sensitivity"]["value"])
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="none" stroke="{colour}" stroke-width="1.8"/>'
            )
    return document(340, 360, parts)


def selective_svg(comparison: dict[str, Any], names: dict[str, str]) -> str:
    """How often the first answer is right, against the share of images that is answered, the surest ones first."""
    least = min(found["right"]["low"] for key in _COLOURS for found in comparison[key]["selective"])
    low = int(10 * least) / 10
    panel = Panel(34, 44, 290, 270, (0.0, 1.0), (low, 1.0))
    parts = [*panel.axes(_TICKS, round_ticks(low, 1), "share of the images that is answered"), *_key(names)]
    for key, colour in _COLOURS.items():
        parts += _shares_right(panel, comparison[key]["selective"], "share", colour, _SHIFT[key])
    return document(340, 360, parts)


def _shares_right(panel: Panel, curve: list[dict[str, Any]], across: str, colour: str, shift: float) -> list[str]:
    """A line through the shares that are right, with a bar for the interval of each."""
    parts = [panel.line([(found[across], found["right"]["value"]) for found in curve], colour, dots=True)]
    for found in curve:
        x, low = panel.place(found[across], found["right"]["low"])
        _, high = panel.place(found[across], found["right"]["high"])
        parts.append(f'<path d="M{x + shift:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" opacity=".45"/>')
    return parts


def _panel() -> Panel:
    return Panel(34, 44, 290, 270, (0.0, 1.0), (0.0, 1.0))


def _diagonal(panel: Panel) -> str:
    return panel.line([(0, 0), (1, 1)], "#bbbbbb", dash="3 3")


def _key(names: dict[str, str]) -> list[str]:
    """Which colour is whose."""
    parts = []
    for row, (key, colour) in enumerate(_COLOURS.items()):
        y = 12 + 17 * row
        parts += [f'<path d="M34 {y - 4}h18" stroke="{colour}" stroke-width="2.5"/>']
        parts += [text(58, y, names[key][:44], size=11, colour=GREY)]
    return parts
