"""Plot a run as SVG: its history, its confusion matrix and its thresholds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.report.charts import GREY, draw
from spot_train.loop.checkpoint import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_svg", "history_svg", "threshold_svg"]

_MOST_NUMBERED = 20  # classes: with more, the cells are too small for numbers
_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_CURVE = 300  # points


def history_svg(history: Sequence[Epoch]) -> str:
    """Plot loss, accuracy and learning rate of each epoch, for training and validation."""

    def plot(figure: Figure) -> None:
        loss, right, rate = figure.subplots(1, 3, width_ratios=(2, 2, 1))
        losses = [v for e in history for v in (e.loss, e.val_loss) if v is not None and math.isfinite(v)]
        loss.set_ylim(0, 1.05 * max([*losses, 1e-3]))
        right.set_ylim(0, 1.01)
        _curve(loss, "training", "C0", "o", [e.loss for e in history])
        _curve(loss, "validation", "C1", "s", [e.val_loss for e in history])
        _curve(right, "training", "C0", "o", [e.accuracy for e in history])
        _curve(right, "validation, balanced", "C1", "s", [e.val_balanced_accuracy for e in history])
        rates = [e.learning_rate if e.learning_rate > 0 else None for e in history]
        decades = [math.log10(value) for value in rates if value] or [-3.0]
        rate.set_yscale("log")
        rate.set_ylim(10.0 ** math.floor(min(decades) - 0.01), 10.0 ** math.ceil(max(decades) + 0.01))
        _curve(rate, "", "C2", "o", rates)
        rate.yaxis.set_major_formatter("{x:g}")
        rate.minorticks_off()
        names = ("loss", "accuracy", "learning rate at the end of each epoch")
        for axes, name in zip((loss, right, rate), names, strict=True):
            axes.set(xlabel="epoch", ylabel=name, xlim=(0.5, max(len(history), 2) + 0.5))
            axes.xaxis.get_major_locator().set_params(integer=True)
        for axes in (loss, right):
            if axes.lines:
                axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        _mark_phases(history, (loss, right, rate))

    return draw(plot, 960, 320)


def _curve(axes: Axes, name: str, colour: str, marker: str, values: Sequence[float | None]) -> None:
    """Draw the known values, with the last one in the legend."""
    known = [(number, value) for number, value in enumerate(values, start=1) if value is not None]
    if known:
        steps, shown = zip(*known, strict=True)
        label = f"{name} {_short(known[-1][1])}" if name else None
        axes.plot(steps, shown, color=colour, marker=marker if len(known) <= 25 else "", label=label)


def _mark_phases(history: Sequence[Epoch], panels: Sequence[Axes]) -> None:
    """Mark the epochs where the phase or the size of the crops changes."""
    for number, (before, after) in enumerate(pairwise(history), start=1):
        if (before.phase, before.size) != (after.phase, after.size):
            for axes in panels:
                axes.axvline(number + 0.5, color=GREY, linestyle="--", linewidth=0.8)
            name = after.phase if before.phase != after.phase else f"{after.size} px"
            panels[0].annotate(
                name, (number + 0.5, 0.99), (3, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                va="top", fontsize=8, color=GREY,
            )  # fmt: skip


def confusion_svg(metrics: dict[str, Any]) -> str:
    """Plot the confusion matrix of `metrics`: one row per true class, with counts and shares of the row."""
    names: list[str] = metrics["confusion"]["labels"]
    counts = np.array(metrics["confusion"]["rows"])
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    numbered = len(names) <= _MOST_NUMBERED
    cell = min(max(52.0, 560 / len(names)), 92.0) if numbered else 560 / len(names)
    longest = max(len(_cut(name)) for name in names) if numbered else 0

    def plot(figure: Figure) -> None:
        from matplotlib.colors import to_rgb

        axes = figure.subplots()
        hit, miss = (np.array(to_rgb(colour)) for colour in ("C0", "C1"))
        ground = np.where(np.eye(len(names), dtype=bool)[..., None], hit, miss)
        depth = np.where(counts, 0.06 + 0.94 * shares, 0)[..., None]
        axes.imshow(1 - (1 - ground) * depth, interpolation="none", aspect="auto" if numbered else "equal")
        axes.set(xlabel="top class", ylabel="true class (images)", xticks=[], yticks=[])
        axes.xaxis.set_label_position("top")
        axes.grid(False)
        axes.spines[["top", "right"]].set_visible(True)
        if numbered:
            across, places = [_cut(name) for name in names], range(len(names))
            turned = longest * 8 > cell
            axes.set_xticks(places, across, rotation=40 if turned else 0, ha="left" if turned else "center")
            axes.set_yticks(places, [f"{name} ({total})" for name, total in zip(across, totals, strict=True)])
            axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
            for row, column in zip(*np.nonzero(counts), strict=True):
                words = f"{counts[row, column]}\n{_percent(shares[row, column])}"
                colour = "white" if row == column and shares[row, column] > 0.85 else "black"
                axes.text(column, row, words, ha="center", va="center", color=colour, fontsize=8)
        lines = f"Validation: {metrics['images']} images of {metrics['groups']} lesions or groups. "
        shown = "Each cell: images and their share of the true class." if numbered else ""
        figure.supxlabel(f"{lines}{shown}\nDarker: a larger share of the true class.", fontsize=8, color=GREY)

    side = cell * len(names)
    return draw(plot, max(side + 90 + 7 * longest, 500), side * (0.75 if numbered else 1) + 110 + 3 * longest)


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
    area, tuned = decision["auc"], decision["thresholds"].items()

    def plot(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(4, 3))
        left.set_xscale("logit")
        left.plot(_inside(thresholds), sensitivity, color="C1", label="sensitivity")
        left.plot(_inside(thresholds), specificity, color="C0", linestyle="--", label="specificity")
        low, high = min(_inside(thresholds[0]), 0.09), max(_inside(thresholds[-1]), 0.91)
        ticks = [value for value in _TICKS if low <= value <= high]
        left.set_xticks(ticks, [f"{value:g}" for value in ticks])
        left.minorticks_off()
        left.set(xlim=(low, high), ylim=(0, 1.01), xlabel="threshold on the score (log-odds)", ylabel="rate")
        left.legend(loc="lower left", bbox_to_anchor=(0, 1.07), ncols=2)
        right.plot(1 - specificity, sensitivity, color="C2")
        right.axline((0, 0), (1, 1), color=GREY, linestyle=":", linewidth=1)
        right.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="false alarms (1 - specificity)", ylabel="sensitivity")
        right.set_title(f"AUC {_rate(area)}", fontweight="normal")
        lines = []
        for mark, (name, point) in zip("abcdefghijklmnop", tuned, strict=False):
            threshold = min(max(point["threshold"], low), high)
            left.axvline(threshold, color=GREY, linestyle="--", linewidth=0.8)
            badge = {"ha": "center", "va": "center", "fontsize": 8, "fontweight": "bold"}
            box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": "black", "linewidth": 0.8}
            left.annotate(mark, (threshold, 1.03), xycoords=("data", "axes fraction"), bbox=box, **badge)
            right.text(1 - point["specificity"]["value"], point["sensitivity"]["value"], mark, bbox=box, **badge)
            lines.append(
                f"{mark}: {name}, threshold {_short(point['threshold'])}. Sensitivity {_rate(point['sensitivity'])}, "
                f"specificity {_rate(point['specificity'])}."
            )
        lines.append(
            "Tuned on these same images, so slightly optimistic. Brackets: 95 % intervals over lesions or groups."
        )
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8)
        figure.suptitle(f"Validation: is it {_question(decision['positive'])}?", x=0.01, ha="left", fontsize=10)

    return draw(plot, 850, 400 + 15 * len(tuned))


def _inside(share: Any) -> Any:
    """Move shares of 0 and 1 to where they have log-odds."""
    return np.clip(share, 1e-5, 1 - 1e-5)


def _question(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"one of {_cut(', '.join(names), 60)}"


def _rate(estimate: dict[str, Any]) -> str:
    return f"{_short(estimate['value'])} ({_short(estimate['low'])} to {_short(estimate['high'])})"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _cut(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
