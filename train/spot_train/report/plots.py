"""Plot a run as SVG: its history, its confusion matrix and its thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.report.svg import BLUE, GREY, INK, ORANGE, Panel, document, rectangle, round_ticks, text
from spot_train.loop.checkpoint import Epoch

__all__ = ["confusion_svg", "history_svg", "threshold_svg"]

_MOST_NUMBERED = 20  # classes: with more, the cells are too small for numbers
_ODDS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_CURVE = 300  # points


def history_svg(history: Sequence[Epoch]) -> str:
    """Plot loss, accuracy and learning rate of each epoch, for training and validation."""
    steps, last = range(1, len(history) + 1), max(len(history), 2)
    across = (1.0, float(last))
    losses = [v for e in history for v in (e.loss, e.val_loss) if v is not None and math.isfinite(v)]
    rates = [math.log10(e.learning_rate) for e in history if e.learning_rate > 0] or [-3.0]
    loss = Panel(56, 60, 300, 210, across, (0.0, 1.05 * max([*losses, 1e-3])))
    right = Panel(412, 60, 300, 210, across, (0.0, 1.0))
    rate = Panel(780, 60, 150, 210, across, (math.floor(min(rates) - 0.01), math.ceil(max(rates) + 0.01)))
    ticks = [(value, label) for value, label in round_ticks(1, last, 6) if value == round(value)]
    few = [(value, label) for value, label in round_ticks(1, last, 3) if value == round(value)]
    powers = [(float(p), f"1e{p}" if p else "1") for p in range(int(rate.y[0]), int(rate.y[1]) + 1)]
    curves: list[tuple[Panel, str, str, Sequence[float | None]]] = [
        (loss, "training", BLUE, [e.loss for e in history]),
        (loss, "validation", ORANGE, [e.val_loss for e in history]),
        (right, "training", BLUE, [e.accuracy for e in history]),
        (right, "validation, balanced", ORANGE, [e.val_balanced_accuracy for e in history]),
    ]
    parts = [text(56, 24, "loss", bold=True), text(412, 24, "accuracy", bold=True)]
    parts += [
        text(780, 24, "learning rate", bold=True),
        text(780, 42, "at the end of each epoch", size=11, colour=GREY),
    ]
    parts += loss.axes(ticks, round_ticks(*loss.y), "epoch") + right.axes(ticks, round_ticks(0, 1), "epoch")
    parts += rate.axes(few, powers, "epoch")
    parts += _phases(history, (loss, right, rate))
    for panel, name, colour, values in curves:
        known = [(float(step), v) for step, v in zip(steps, values, strict=True) if v is not None]
        if known:
            parts += [panel.line(known, colour, dots=len(known) <= 40)]
            x = panel.left + (0 if name == "training" else 110)
            parts += [text(x, 42, f"{name} {_short(known[-1][1])}", size=11, colour=colour)]
    known = [
        (float(s), math.log10(e.learning_rate)) for s, e in zip(steps, history, strict=True) if e.learning_rate > 0
    ]
    parts += [rate.line(known, INK, dots=len(known) <= 40)]
    return document(960, 320, parts)


def _phases(history: Sequence[Epoch], panels: Sequence[Panel]) -> list[str]:
    """Mark the epochs where the phase or the size of the crops changes."""
    parts = []
    for number, (before, after) in enumerate(pairwise(history)):
        if (before.phase, before.size) != (after.phase, after.size):
            parts += [panel.upright(number + 1.5, "#bbbbbb") for panel in panels]
            x, _ = panels[0].place(number + 1.5, 0)
            what = after.phase if before.phase != after.phase else f"{after.size} px"
            parts += [text(x + 4, panels[0].top + 11, what, size=10, colour=GREY)]
    return parts


def confusion_svg(metrics: dict[str, Any]) -> str:
    """Plot the confusion matrix of `metrics`: one row per true class, with counts and shares of the row."""
    names: list[str] = metrics["confusion"]["labels"]
    counts = np.array(metrics["confusion"]["rows"])
    totals = counts.sum(axis=1)
    written = len(names) <= _MOST_NUMBERED
    wide = max(52.0, 640 / len(names) * 0.8) if written else max(3.0, 560 / len(names))
    wide = min(wide, 92.0)
    tall = wide * 0.72 if written else wide
    longest = max(len(name) for name in names)
    turned = longest * 7 > wide
    left = 54 + min(longest, 28) * 7 + 44
    top = 76 + (min(longest, 28) * 5 if turned else 12) if written else 70
    width, height = (
        left + wide * len(names) + (60 + 5 * min(longest, 28) if turned else 60),
        top + tall * len(names) + 44,
    )
    parts = [
        text(20, 26, "Validation: true class (rows) and top class (columns)", bold=True, size=13),
        text(20, 45, f"{metrics['images']} images of {metrics['groups']} lesions or groups", size=11, colour=GREY),
    ]
    for row, name in enumerate(names):
        for column in range(len(names)):
            share = counts[row, column] / totals[row] if totals[row] else 0.0
            x, y = left + wide * column, top + tall * row
            parts += _cell(x, y, wide, tall, counts[row, column], share, row == column, written)
        if written:
            y = top + tall * (row + 0.5)
            parts += [text(left - 46, y + 4, _cut(name), anchor="end", bold=True)]
            parts += [text(left - 8, y + 4, f"{totals[row]}", anchor="end", size=11, colour=GREY)]
            x = left + wide * (row + 0.5)
            at = {"anchor": "start", "turn": -40.0} if turned else {"anchor": "middle", "turn": 0.0}
            parts += [text(x - (4 if turned else 0), top - 10, _cut(name), bold=True, **at)]  # type: ignore[arg-type]
    bottom = top + tall * len(names)
    grid = rectangle(left, top, wide * len(names), tall * len(names), "none", "#999999")
    words = "each cell: images, and their share of the true class; darker means a larger share"
    parts += [grid, text(20, bottom + 26, words if written else "darker means a larger share of the true class",
                         size=11, colour=GREY)]  # fmt: skip
    return document(max(width, 500), height, parts)


def _cell(
    x: float, y: float, wide: float, tall: float, count: int, share: float, hit: bool, written: bool
) -> list[str]:
    if not count and not (hit and written):
        return []
    parts = [rectangle(x, y, wide, tall, _shade(share, BLUE if hit else ORANGE))] if count else []
    if hit and written:
        parts += [rectangle(x + 0.75, y + 0.75, wide - 1.5, tall - 1.5, "none", "#555555")]
    if written:
        colour = "white" if share > (0.5 if hit else 0.7) else INK
        middle = y + tall / 2
        parts += [text(x + wide / 2, middle - 1, f"{count}", anchor="middle", size=14, colour=colour, bold=hit)]
        parts += [text(x + wide / 2, middle + 13, _percent(share), anchor="middle", size=10, colour=colour)]
    return parts


def _percent(share: float) -> str:
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def threshold_svg(score: NDArray[np.floating], positive: NDArray[np.bool_], decision: dict[str, Any]) -> str:
    """Plot sensitivity and specificity against the threshold, and the ROC curve, with the tuned thresholds."""
    thresholds = np.unique(score)
    thresholds = np.append(thresholds, thresholds[-1] + 1e-9)
    if len(thresholds) > _CURVE:
        thresholds = thresholds[np.linspace(0, len(thresholds) - 1, _CURVE).round().astype(int)]
    hits, others = np.sort(score[positive]), np.sort(score[~positive])
    sensitivity = 1 - np.searchsorted(hits, thresholds) / len(hits)
    specificity = np.searchsorted(others, thresholds) / len(others)
    odds = [_odds(value) for value in thresholds]
    low, high = min(min(odds), -2.3), max(max(odds), 2.3)
    left = Panel(60, 76, 380, 270, (low, high), (0.0, 1.0))
    right = Panel(530, 76, 270, 270, (0.0, 1.0), (0.0, 1.0))
    across = [(_odds(v), f"{v:g}") for v in _ODDS if low <= _odds(v) <= high]
    shares = round_ticks(0, 1)
    area = decision["auc"]
    parts = [
        text(60, 26, f"Validation: is it {_question(decision['positive'])}?", bold=True, size=13),
        text(60, 58, "sensitivity", colour=ORANGE),
        text(130, 58, "specificity", colour=BLUE),
        text(530, 58, f"AUC {_short(area['value'])} ({_short(area['low'])} to {_short(area['high'])})"),
        *left.axes(across, shares, "threshold on the score (axis in log-odds)"),
        *right.axes(shares, shares, "1 - specificity (type I errors)"),
        right.line([(0, 0), (1, 1)], "#bbbbbb", dash="3 3"),
        right.line(zip(1 - specificity, sensitivity, strict=True), INK),
        left.line(zip(odds, sensitivity, strict=True), ORANGE),
        left.line(zip(odds, specificity, strict=True), BLUE),
        text(492, 211, "sensitivity", anchor="middle", size=11, colour=GREY, turn=-90),
    ]
    heads = ("", "threshold", "sensitivity", "specificity", "missed (type II)", "false alarms (type I)")
    columns = (60, 200, 290, 440, 590, 710)
    parts += [text(x, 414, head, size=11, colour=GREY) for x, head in zip(columns, heads, strict=True)]
    for number, (name, point) in enumerate(decision["thresholds"].items()):
        mark, y = chr(ord("a") + number), 434 + 19 * number
        x_left, _ = left.place(min(max(_odds(point["threshold"]), low), high), 0)
        x, y_roc = right.place(1 - point["specificity"]["value"], point["sensitivity"]["value"])
        parts += [left.upright(min(max(_odds(point["threshold"]), low), high))]
        parts += [_badge(x_left, left.top - 8, mark), _badge(x, y_roc, mark)]
        cells = (
            f"{mark}: {name}",
            _short(point["threshold"]),
            _rate(point["sensitivity"]),
            _rate(point["specificity"]),
            f"{point['type_2_errors']['count']} of {decision['positives']}",
            f"{point['type_1_errors']['count']} of {decision['negatives']}",
        )
        parts += [text(x, y, cell, bold=not place) for place, (x, cell) in enumerate(zip(columns, cells, strict=True))]
    note = "tuned on these same images, so slightly optimistic; 95 % intervals over lesions or groups"
    parts += [text(60, 434 + 19 * len(decision["thresholds"]) + 6, note, size=11, colour=GREY)]
    return document(850, 434 + 19 * len(decision["thresholds"]) + 22, parts)


def _question(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {_cut(', '.join(names), 60)}"


def _badge(x: float, y: float, mark: str) -> str:
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7.5" fill="white" stroke="{INK}"/>'
    return circle + text(x, y + 3.5, mark, anchor="middle", size=10, bold=True)


def _odds(share: float) -> float:
    inside = min(max(share, 1e-5), 1 - 1e-5)
    return math.log(inside / (1 - inside))


def _rate(estimate: dict[str, Any]) -> str:
    return f"{_short(estimate['value'])} ({_short(estimate['low'])} to {_short(estimate['high'])})"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cut(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _shade(share: float, colour: str) -> str:
    """Return a shade between near white and `colour`."""
    depth = 0.06 + 0.94 * share
    parts = (round(255 + (int(colour[i : i + 2], 16) - 255) * depth) for i in (1, 3, 5))
    return "#" + "".join(f"{part:02x}" for part in parts)
