"""Predictions as text for a terminal: an aid, never a diagnosis, never reassurance."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Sequence
from typing import Any

from spot_edge.errors import one_line
from spot_edge.prediction.prediction import (
    MISBEHAVES,
    NEAR_TIE,
    NEUTRAL_NOTICE,
    NOTICE,
    ClassScore,
    Prediction,
    PredictionSet,
    Triage,
)

__all__ = ["describe", "disclaimer", "prediction_lines", "time_of_day", "triage_line"]

WIDTH = 100
_INDENT = 19


def disclaimer(*, medical: bool) -> str:
    """What must stand below every prediction. Not `medical`: of a model without malignant classes."""
    if not medical:
        return NEUTRAL_NOTICE
    return f"{NOTICE} Show a changing, bleeding or new lesion to a doctor, whatever the model says."


def describe(prediction: Prediction, top: int) -> str:
    """A few lines for one image: what it looks most like, how urgent it is, and notes."""
    return "\n".join([one_line(_heading(prediction.source)), *prediction_lines(prediction, top)])


def time_of_day(source: dict[str, Any]) -> str:
    """When the camera took the image, in local time."""
    return time.strftime("%H:%M:%S", time.localtime(source["captured_at"]))


def _heading(source: dict[str, Any]) -> str:
    """The name of an image, or the camera that took it and when. The name of a frame has seconds since 1970."""
    name: str = source["name"]
    return f"{source['camera']} at {time_of_day(source)}" if source["kind"] == "frame" else name


def prediction_lines(prediction: Prediction, top: int, width: int = WIDTH, *, notes: bool = True) -> list[str]:
    """`describe` without the image's name, for `width` columns, with or without the notes."""
    shown = prediction.ranked[:top]
    names = [score.name.replace("\n", " ") for score in shown]  # a line break could fake another line
    longest = max(map(len, names))
    scores = [f"model score {score.score:.2f}{'  malignant' if score.malignant else ''}" for score in shown]
    narrow = _INDENT + longest + 2 + max(map(len, scores)) > width  # no room for a column of headings
    lines = []
    bad = prediction.quality or prediction.misbehaves  # then they would mislead
    ranks = [] if bad else zip(names, scores, strict=True)
    for place, (name, words) in enumerate(ranks):
        lead = "looks most like" if place == 0 else "then"
        if narrow:
            lines += [*_wrapped(lead, name, width, narrow), f"  {words}"]
        else:
            lines.append(f"  {lead:<15}  {name:<{longest}}  {words}")
    if prediction.prediction_set is not None and not prediction.quality:
        lines += _wrapped("may be", _set(prediction.prediction_set, prediction.ranked), width, narrow)
    if prediction.triage is not None:
        lines += _wrapped("triage", triage_line(prediction.triage), width, narrow)
    elif prediction.misbehaves:
        lines += _wrapped("cannot assess", MISBEHAVES, width, narrow)
    elif prediction.quality:
        reasons = "; ".join(f"{each.problem}: {each.advice}" for each in prediction.quality)
        lines += _wrapped("cannot assess", f"the image is {reasons}", width, narrow)
    for note in _notes(prediction) if notes else ():
        lines += _wrapped("note", note, width, narrow)
    return lines


def triage_line(triage: Triage) -> str:
    """The category, and the measured figures behind it."""
    if triage.category == "cannot assess" or triage.operating_point is None:
        return f"{triage.category.upper()}: {triage.reason}"
    point = triage.operating_point
    score, threshold = f"malignant score {triage.malignant_score:.2f}", f"{point.threshold:.2f}"
    lesions = f"({point.measured_on}: {point.sensitivity.n} malignant and {point.specificity.n} other lesions)"
    if triage.category == "routine":
        missed = _percent(1 - point.sensitivity.value, 1 - point.sensitivity.high, 1 - point.sensitivity.low)
        return f"ROUTINE: {score}, below {threshold}, as {missed} of malignant images were {lesions}"
    sensitivity, specificity = (_percent(r.value, r.low, r.high) for r in (point.sensitivity, point.specificity))
    return (
        f"{triage.category.upper()}: {score}, at or above {threshold}, where sensitivity was {sensitivity} and "
        f"specificity {specificity} {lesions}"
    )


def _set(found: PredictionSet, ranked: Sequence[ClassScore]) -> str:
    """The classes in words. If none is malignant, also how often such sets miss each malignant class."""
    within = [each for each in ranked if each.label in found.labels]
    text = ", ".join(each.name for each in within) or "none of the classes of this model"
    if any(each.malignant for each in within):
        return text
    missed = [f"{100 * (1 - found.coverage[each.label]):.0f} % of {each.name}" for each in ranked if each.malignant]
    return f"{text} (such sets miss {', '.join(missed)})" if missed else text


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} % [{100 * low:.0f} to {100 * high:.0f}]"


def _wrapped(lead: str, text: str, width: int, narrow: bool) -> list[str]:
    heading, indent = (f"{lead} ", 2) if narrow else (f"  {lead:<15}  ", _INDENT)
    return textwrap.wrap(text, width, initial_indent=heading, subsequent_indent=" " * indent)


def _notes(prediction: Prediction) -> list[str]:
    notes = []
    if prediction.near_tie:
        first, second = prediction.ranked[:2]
        notes.append(
            f"near tie: {first.name} and {second.name} score almost the same (within {NEAR_TIE:.1f}); "
            f"take another {'burst' if prediction.burst else 'picture, or a burst'} to be sure"
        )
    notes += prediction.notes
    crop = prediction.image.get("crop")
    if crop:
        notes.append(f"only the central {crop[2] - crop[0]}x{crop[3] - crop[1]} pixels were used")
    return notes
