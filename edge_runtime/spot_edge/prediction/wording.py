"""Predictions in words for a terminal, as careful products say them: an aid, never a diagnosis, never reassurance."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from spot_edge.errors import one_line
from spot_edge.prediction.prediction import NEAR_TIE, NOTICE, ClassScore, Prediction, PredictionSet, Triage

__all__ = ["DISCLAIMER", "answer", "describe", "triage_line"]

WIDTH = 100
_INDENT = 19
DISCLAIMER = f"{NOTICE} Show a changing, bleeding or new lesion to a doctor, whatever the model says."


def describe(prediction: Prediction, top: int) -> str:
    """A few lines for one picture: what it looks most like, how urgent, and what else must be said."""
    return "\n".join([one_line(prediction.source["name"]), *answer(prediction, top)])


def answer(prediction: Prediction, top: int, width: int = WIDTH, *, notes: bool = True) -> list[str]:
    """`describe` without the picture's name, for `width` columns; with or without what else must be said."""
    shown = prediction.ranked[:top]
    longest = max(len(score.name) for score in shown)
    said = [f"model score {score.score:.2f}{'  malignant' if score.malignant else ''}" for score in shown]
    narrow = _INDENT + longest + 2 + max(map(len, said)) > width  # where a column of headings would leave too little
    lines = []
    ranks = [] if prediction.quality else zip(shown, said, strict=True)  # of an unfit picture they would only mislead
    for place, (score, words) in enumerate(ranks):
        lead = "looks most like" if place == 0 else "then"
        if narrow:
            lines += [*_wrapped(lead, score.name, width, narrow), f"  {words}"]
        else:
            lines.append(f"  {lead:<15}  {score.name:<{longest}}  {words}")
    if prediction.prediction_set is not None and not prediction.quality:
        lines += _wrapped("may be", _set(prediction.prediction_set, prediction.ranked), width, narrow)
    lines += _wrapped("triage", triage_line(prediction.triage), width, narrow)
    for note in _notes(prediction) if notes else ():
        lines += _wrapped("note", note, width, narrow)
    return lines


def triage_line(triage: Triage) -> str:
    """The category, and what stands behind it with its measured figures."""
    if triage.category == "cannot assess" or triage.operating_point is None:
        return f"{triage.category.upper()}: {triage.reason}"
    point = triage.operating_point
    score, threshold = f"malignant score {triage.malignant_score:.2f}", f"{point.threshold:.2f}"
    lesions = f"({point.measured_on}: {point.sensitivity.n} malignant and {point.specificity.n} other lesions)"
    if triage.category == "routine":
        missed = _percent(1 - point.sensitivity.value, 1 - point.sensitivity.high, 1 - point.sensitivity.low)
        return f"ROUTINE: {score}, below {threshold}, where {missed} of malignant images were too {lesions}"
    sensitivity, specificity = (_percent(r.value, r.low, r.high) for r in (point.sensitivity, point.specificity))
    return (
        f"{triage.category.upper()}: {score}, at or above {threshold}, where sensitivity was {sensitivity} and "
        f"specificity {specificity} {lesions}"
    )


def _set(found: PredictionSet, ranked: Sequence[ClassScore]) -> str:
    """The classes in words; and where none of them is malignant, how often such sets leave a malignant one out."""
    within = [each for each in ranked if each.label in found.labels]
    text = ", ".join(each.name for each in within) or "nothing that this model knows"
    if any(each.malignant for each in within):
        return text
    missed = [f"{100 * (1 - found.coverage[each.label]):.0f} % of {each.name}" for each in ranked if each.malignant]
    return f"{text} (such sets leave out {', '.join(missed)})" if missed else text


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
            f"near tie: {first.name} and {second.name} score alike (within {NEAR_TIE:.1f}), and little decides which "
            f"comes first; take another {'burst' if prediction.burst else 'picture, or a burst'}"
        )
    notes += prediction.notes
    crop = prediction.image.get("crop")
    if crop:
        notes.append(f"only the central {crop[2] - crop[0]}x{crop[3] - crop[1]} pixels were looked at")
    return notes
