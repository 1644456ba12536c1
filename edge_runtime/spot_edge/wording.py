"""Predictions in words for a terminal, as careful products say them: an aid, never a diagnosis, never reassurance."""

from __future__ import annotations

from spot_edge.prediction import Prediction, Triage

__all__ = ["DISCLAIMER", "describe", "triage_line"]

DISCLAIMER = (
    "An aid for trained people, not a diagnosis. Show a changing, bleeding or new lesion to a doctor, "
    "whatever the model says."
)


def describe(prediction: Prediction, top: int) -> str:
    """A few lines for one picture: what it looks most like, how urgent, and what else must be said."""
    lines = [prediction.source["name"]]
    shown = prediction.ranked[:top]
    width = max(len(score.name) for score in shown)
    for place, score in enumerate(shown):
        lead = "looks most like" if place == 0 else "then"
        malignant = "  malignant" if score.malignant else ""
        lines.append(f"  {lead:<15}  {score.name:<{width}}  model score {score.score:.2f}{malignant}")
    lines.append(f"  triage           {triage_line(prediction.triage)}")
    lines += [f"  note             {remark}" for remark in _notes(prediction)]
    return "\n".join(lines)


def triage_line(triage: Triage) -> str:
    """The category, and what stands behind it with its measured figures."""
    if triage.category == "cannot assess" or triage.operating_point is None:
        return f"{triage.category.upper()}: {triage.reason}"
    point = triage.operating_point
    side = "below" if triage.category == "routine" else "at or above"
    return (
        f"{triage.category.upper()}: malignant score {triage.malignant_score:.2f}, {side} {point.threshold:.2f}, where "
        f"sensitivity was {100 * point.sensitivity.value:.0f} % and specificity {100 * point.specificity.value:.0f} % "
        f"({point.measured_on}, n={point.sensitivity.n + point.specificity.n} lesions)"
    )


def _notes(prediction: Prediction) -> list[str]:
    notes = list(prediction.remarks)
    crop = prediction.image.get("crop")
    if crop:
        notes.append(f"only the central {crop[2] - crop[0]}x{crop[3] - crop[1]} pixels were looked at")
    return notes
