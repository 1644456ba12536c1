"""The answer for one picture, and how it is judged from the scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from spot_edge.image.quality import Finding
from spot_edge.model.interpreter import Runtime
from spot_edge.model.spec import Label, ModelSpec, OperatingPoint, as_data

if TYPE_CHECKING:
    from numpy.typing import NDArray  # slow to import

    from spot_edge.prediction.burst import Burst

__all__ = [
    "NEAR_TIE",
    "NOTICE",
    "SCHEMA",
    "Category",
    "ClassScore",
    "Prediction",
    "PredictionSet",
    "Triage",
    "prediction_set_of",
    "rank",
    "triage_of",
]

SCHEMA = 1
NOTICE = "An aid for trained people, not a diagnosis."
# Between the first two scores: of .05, .1, .2 and .3 the least that held all answers which int8 changed on validation.
NEAR_TIE = 0.1

Category: TypeAlias = Literal["review now", "review soon", "routine", "cannot assess"]


class ClassScore(NamedTuple):
    """One class and its model score."""

    label: str
    name: str
    score: float
    malignant: bool | None


class Triage(NamedTuple):
    """How urgent the picture looks to the model, and the operating point behind that."""

    category: Category
    reason: str
    malignant_score: float | None = None
    operating_point: OperatingPoint | None = None


class PredictionSet(NamedTuple):
    """The classes that the picture may show, likeliest first, and what share of each class such sets are to hold."""

    labels: tuple[str, ...]
    coverage: dict[str, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one picture, or a burst of one lesion. `as_dict` is the JSON form that every client
    speaks."""

    source: dict[str, Any]
    image: dict[str, Any]
    ranked: tuple[ClassScore, ...]
    triage: Triage
    labels: tuple[str, ...]  # in the order of the network's outputs, as in `evidence`
    model: dict[str, str]
    runtime: Runtime
    notes: tuple[str, ...]
    timings_ms: dict[str, float]
    prediction_set: PredictionSet | None = None
    quality: tuple[Finding, ...] = ()  # what makes the picture unfit to be judged
    burst: Burst | None = None
    evidence: NDArray[np.float32] = field(
        repr=False, compare=False, default_factory=lambda: np.zeros((0, 0, 0), np.float32)
    )
    embedding: NDArray[np.float32] = field(repr=False, compare=False, default_factory=lambda: np.zeros(0, np.float32))

    @property
    def top(self) -> ClassScore:
        """The class that the lesion looks most like."""
        return self.ranked[0]

    @property
    def near_tie(self) -> bool:
        """Whether the first two scores are so near that little decides which of the two classes comes first."""
        return not self.quality and len(self.ranked) > 1 and self.top.score - self.ranked[1].score < NEAR_TIE

    @property
    def abstained(self) -> bool:
        """Whether the model declines to say how urgent the picture looks."""
        return self.triage.category == "cannot assess"

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, schema 1; the evidence and embedding arrays stay out of it."""
        return {
            "schema": SCHEMA,
            "source": self.source,
            "image": self.image,
            "ranked": [as_data(score) | {"score": _number(score.score)} for score in self.ranked],
            "near_tie": self.near_tie,
            "triage": as_data(self.triage),
            "abstained": self.abstained,
            "prediction_set": as_data(self.prediction_set),
            "quality": [as_data(each) | {"value": _number(each.value)} for each in self.quality],
            "burst": as_data(self.burst),
            "notes": list(self.notes),
            "model": self.model,
            "runtime": as_data(self.runtime),
            "notice": NOTICE,
            "timings_ms": {key: round(value, 3) for key, value in self.timings_ms.items()},
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON knows no NaN


def rank(labels: Sequence[Label], scores: NDArray[np.float32]) -> tuple[ClassScore, ...]:
    """The classes by falling score; equal scores keep the order of the labels."""
    order = np.argsort(-scores, kind="stable").tolist()
    values = scores.tolist()
    return tuple(ClassScore(labels[i].label, labels[i].name, values[i], labels[i].malignant) for i in order)


def triage_of(spec: ModelSpec, scores: NDArray[np.float32], quality: Sequence[Finding] = ()) -> Triage:
    """The triage category: the strictest operating point that the summed malignant score reaches decides.

    The point of the highest threshold (and lowest sensitivity) means "review now", any other "review soon". A picture
    with findings is not judged.
    """
    if quality:
        return Triage("cannot assess", "the picture is " + "; ".join(f"{e.problem}: {e.advice}" for e in quality))
    if not np.isfinite(scores).all():
        return Triage("cannot assess", "the network's scores are not numbers")
    if not spec.operating_points:
        return Triage("cannot assess", "this model carries no measured operating point")
    malignant = float(sum(float(s) for label, s in zip(spec.labels, scores, strict=True) if label.malignant))
    points = sorted(spec.operating_points, key=lambda point: -point.threshold)
    for point in points:
        if malignant >= point.threshold:
            category: Category = "review now" if point is points[0] else "review soon"
            return Triage(category, "the malignant score reaches this operating point", malignant, point)
    return Triage("routine", "the malignant score is below every operating point", malignant, points[-1])


def prediction_set_of(spec: ModelSpec, ranked: Sequence[ClassScore]) -> PredictionSet | None:
    """The classes whose score reaches their own conformal threshold; None where the model carries none.

    A class without a threshold, because no validation image showed it, is always among them.
    """
    if spec.conformal is None:
        return None
    own = spec.conformal.classes
    labels = tuple(each.label for each in ranked if each.label not in own or each.score >= own[each.label].threshold)
    return PredictionSet(labels, {label: threshold.coverage for label, threshold in own.items()})
