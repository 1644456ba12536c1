"""The prediction for one image, and how triage and prediction set follow from the scores."""

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
    "MISBEHAVES",
    "NEAR_TIE",
    "NEUTRAL_NOTICE",
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
NEUTRAL_NOTICE = "A prediction by a model: check it before you rely on it."
# The largest difference of the top two scores in a near tie: of .05, .1, .2 and .3 the smallest that covers all images
# whose top class int8 quantization flipped on validation.
NEAR_TIE = 0.1
MISBEHAVES = "the model file misbehaves: its scores are no probabilities. Install it again, or use another one"

Category: TypeAlias = Literal["review now", "review soon", "routine", "cannot assess"]


class ClassScore(NamedTuple):
    """One class and its score."""

    label: str
    name: str
    score: float
    malignant: bool | None


class Triage(NamedTuple):
    """How urgent the lesion looks to the model, and the operating point behind that."""

    category: Category
    reason: str
    malignant_score: float | None = None
    operating_point: OperatingPoint | None = None


class PredictionSet(NamedTuple):
    """The classes that the image may show, most likely first, and how often such sets contain each class."""

    labels: tuple[str, ...]
    coverage: dict[str, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says about one image, or about a burst of one lesion.

    `as_dict` is the JSON form. A model whose label set marks no class as malignant has no triage.
    """

    source: dict[str, Any]
    image: dict[str, Any]
    ranked: tuple[ClassScore, ...]
    triage: Triage | None  # None if the label set marks no class as malignant
    labels: tuple[str, ...]  # in the order of the network's outputs and of `evidence`
    model: dict[str, Any]  # name, variant, id, and the number of views if there are several
    runtime: Runtime
    notes: tuple[str, ...]
    timings_ms: dict[str, float]
    prediction_set: PredictionSet | None = None
    quality: tuple[Finding, ...] = ()  # image quality checks that failed
    burst: Burst | None = None
    evidence: NDArray[np.float32] = field(
        repr=False, compare=False, default_factory=lambda: np.zeros((0, 0, 0), np.float32)
    )
    embedding: NDArray[np.float32] = field(repr=False, compare=False, default_factory=lambda: np.zeros(0, np.float32))

    @property
    def top(self) -> ClassScore:
        """The top class: the one with the highest score."""
        return self.ranked[0]

    @property
    def near_tie(self) -> bool:
        """Whether the top two scores are so close that small changes decide which class comes first."""
        return not self.quality and len(self.ranked) > 1 and self.top.score - self.ranked[1].score < NEAR_TIE

    @property
    def misbehaves(self) -> bool:
        """Whether the model file is defective: its scores are no probabilities, so all of them are NaN here."""
        return not all(math.isfinite(each.score) for each in self.ranked)

    @property
    def abstained(self) -> bool:
        """Whether the model makes no statement: the triage category is "cannot assess", or there is no usable score."""
        if self.triage is None:
            return bool(self.quality) or self.misbehaves
        return self.triage.category == "cannot assess"

    @property
    def notice(self) -> str:
        """What everyone who sees this prediction must know."""
        return NEUTRAL_NOTICE if self.triage is None else NOTICE

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, schema 1, without the evidence and embedding arrays."""
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
            "notice": self.notice,
            "timings_ms": {key: round(value, 3) for key, value in self.timings_ms.items()},
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN


def rank(labels: Sequence[Label], scores: NDArray[np.float32]) -> tuple[ClassScore, ...]:
    """The classes by falling score. Equal scores keep the order of the labels."""
    order = np.argsort(-scores, kind="stable").tolist()
    values = scores.tolist()
    return tuple(ClassScore(labels[i].label, labels[i].name, values[i], labels[i].malignant) for i in order)


def triage_of(spec: ModelSpec, scores: NDArray[np.float32], quality: Sequence[Finding] = ()) -> Triage | None:
    """The triage category: the highest threshold that the summed score of the malignant classes reaches decides.

    The operating point with the highest threshold (and lowest sensitivity) means "review now", any other "review
    soon". An image that fails a quality check cannot be assessed. None if the label set marks no class as malignant.
    """
    if not any(label.malignant for label in spec.labels):
        return None
    if not np.isfinite(scores).all():
        return Triage("cannot assess", MISBEHAVES)
    if quality:
        return Triage("cannot assess", "the image is " + "; ".join(f"{e.problem}: {e.advice}" for e in quality))
    if not spec.operating_points:
        return Triage("cannot assess", "this model has no measured operating point")
    malignant = float(sum(float(s) for label, s in zip(spec.labels, scores, strict=True) if label.malignant))
    points = sorted(spec.operating_points, key=lambda point: -point.threshold)
    for point in points:
        if malignant >= point.threshold:
            category: Category = "review now" if point is points[0] else "review soon"
            return Triage(category, "the malignant score reaches this operating point", malignant, point)
    return Triage("routine", "the malignant score is below every operating point", malignant, points[-1])


def prediction_set_of(spec: ModelSpec, ranked: Sequence[ClassScore]) -> PredictionSet | None:
    """The classes whose score reaches their conformal threshold. None without such thresholds or usable scores.

    A class without a threshold, because no validation image shows it, is always in the set.
    """
    if spec.conformal is None or not all(math.isfinite(each.score) for each in ranked):
        return None
    own = spec.conformal.classes
    labels = tuple(each.label for each in ranked if each.label not in own or each.score >= own[each.label].threshold)
    return PredictionSet(labels, {label: threshold.coverage for label, threshold in own.items()})
