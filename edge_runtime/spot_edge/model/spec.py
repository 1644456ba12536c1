"""What a model file says about itself: the content of its `spot.json`.

Named tuples: to define a dataclass takes one and a half million instructions more, at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

if TYPE_CHECKING:
    from spot_edge.model.views import Views

__all__ = [
    "VERDICTS",
    "Conformal",
    "Criterion",
    "Drift",
    "ImageSpec",
    "Label",
    "MeasuredIn",
    "ModelSpec",
    "OperatingPoint",
    "QualityLimits",
    "Rate",
    "SetThreshold",
    "as_data",
]

Geometry: TypeAlias = Literal["stretch", "stretch-reduced-jpeg"]
Filter: TypeAlias = Literal["bilinear-antialias"]
Verdict: TypeAlias = Literal["pass", "undecided", "fail"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class ImageSpec(NamedTuple):
    """How an image becomes the network's square input.

    The geometry "stretch-reduced-jpeg" is "stretch", but large JPEGs are decoded at a reduced size, which is faster.
    """

    size: int
    geometry: Geometry = "stretch"
    filter: Filter = "bilinear-antialias"


class Label(NamedTuple):
    """One class: its short label, plain name, description, and whether it is malignant (None: unknown)."""

    label: str
    name: str
    description: str = ""
    malignant: bool | None = None


class Rate(NamedTuple):
    """A measured proportion with its 95 % interval, and the number of lesions or cases behind it."""

    value: float
    low: float
    high: float
    n: int


class OperatingPoint(NamedTuple):
    """A threshold on the summed score of the malignant classes, with its measured sensitivity and specificity."""

    name: str
    threshold: float
    sensitivity: Rate
    specificity: Rate
    measured_on: str


class MeasuredIn(NamedTuple):
    """The interpreter in which the model's temperature and figures were measured. They hold only there."""

    runtime: str
    version: str


class SetThreshold(NamedTuple):
    """A class whose score reaches `threshold` is in the set, so that the true class is as often as `coverage`."""

    coverage: float
    threshold: float
    n: int  # lesions behind this choice


class Conformal(NamedTuple):
    """Thresholds for prediction sets: one for all images, and one for each class."""

    marginal: SetThreshold
    classes: dict[str, SetThreshold]
    measured_on: str


class QualityLimits(NamedTuple):
    """Limits of the image quality check. An image beyond one of them gets no triage."""

    limits: dict[str, float]
    refused: Rate  # of good images where the limits were measured
    measured_on: str


class Criterion(NamedTuple):
    """How much worse a file is than its float32 baseline, with 95 % bounds and the allowed margin."""

    name: str
    worse_by: float
    low: float
    high: float
    margin: float
    n: int  # lesions behind it
    verdict: Verdict
    would_tell: int | None = None  # lesions needed to decide, if undecided


class Drift(NamedTuple):
    """What quantization changed, compared with the float32 file of the same network on the same images."""

    verdict: Verdict
    against: str  # id of the float32 baseline
    measured_on: str
    criteria: tuple[Criterion, ...]


class ModelSpec(NamedTuple):
    """Everything in `spot.json`, schema 1. What a first model cannot know is optional and comes last."""

    name: str
    variant: str
    labels: tuple[Label, ...]
    image: ImageSpec
    measured_in: MeasuredIn
    temperature: float
    training: dict[str, str]  # data, recipe and versions, as far as known
    operating_points: tuple[OperatingPoint, ...] = ()
    conformal: Conformal | None = None
    image_quality: QualityLimits | None = None
    drift: Drift | None = None
    licence: str = ""
    notice: str = ""
    views: tuple[Views, ...] = ()


def as_data(value: Any) -> Any:
    """`value` as JSON data: named tuples, at any depth, become objects."""
    if isinstance(value, (tuple, list)):
        names = getattr(value, "_fields", None)
        return [as_data(v) for v in value] if names is None else dict(zip(names, map(as_data, value), strict=True))
    return {key: as_data(v) for key, v in value.items()} if isinstance(value, dict) else value
