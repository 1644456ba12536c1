"""Predictions in words for a terminal, as careful products say them: an aid, never a diagnosis, never reassurance."""

from __future__ import annotations

import textwrap

from spot_edge.errors import one_line
from spot_edge.prediction import NOTICE, Prediction, Triage

__all__ = ["DISCLAIMER", "describe", "triage_line"]

WIDTH = 100
DISCLAIMER = f"{NOTICE} Show a changing, bleeding or new lesion to a doctor, whatever the model says."


def describe(prediction: Prediction, top: int) -> str:
    """A few lines for one picture: what it looks most like, how urgent, and what else must be said."""
    lines = [one_line(prediction.source["name"])]
    shown = prediction.ranked[:top]
    width = max(len(score.name) for score in shown)
    for place, score in enumerate(shown):
        lead = "looks most like" if place == 0 else "then"
        malignant = "  malignant" if score.malignant else ""
        lines.append(f"  {lead:<15}  {score.name:<{width}}  model score {score.score:.2f}{malignant}")
    lines += _wrapped("triage", triage_line(prediction.triage))
    for note in _notes(prediction):
        lines += _wrapped("note", note)
    return "\n".join(lines)


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


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.0f} % [{100 * low:.0f} to {100 * high:.0f}]"


def _wrapped(lead: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"  {lead:<15}  ", subsequent_indent=" " * 19)


def _notes(prediction: Prediction) -> list[str]:
    notes = list(prediction.remarks)
    crop = prediction.image.get("crop")
    if crop:
        notes.append(f"only the central {crop[2] - crop[0]}x{crop[3] - crop[1]} pixels were looked at")
    return notes
