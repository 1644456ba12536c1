"""Fit and measure on a file's own predictions: temperature, thresholds, image quality limits and accuracy drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.stats.calibration import fit_temperature, measured_point, operating_points, softmax
from spot_bench.stats.conformal import conformal_thresholds
from spot_convert.checks.image_quality import choose_limits, fit_ood_reference, ood_member
from spot_convert.images import GATE, UNLABELLED, EvaluationImages
from spot_edge.model.spec import Conformal, ModelSpec, OperatingPoint
from spot_edge.model.views import Views
from spot_edge.prediction.ood import MEMBER

__all__ = ["Fitted", "GatePredictions", "fit", "fit_views", "images_for_views"]

_VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class GatePredictions:
    """The predictions that the drift gate compares, at the file's temperature."""

    labelled: Predictions  # validation and the further images
    unlabelled: Predictions | None


@dataclass(frozen=True, slots=True)
class Fitted:
    """A spec with everything fitted, the zip members that belong to it, and the predictions it was fitted on."""

    spec: ModelSpec
    members: dict[str, bytes]
    validation: Predictions
    gate: GatePredictions
    comparison: dict[str, Any] | None  # with the float32 baseline, on the gate's images


def fit(
    draft: ModelSpec,
    predictions: Predictions,
    images: EvaluationImages,
    margins: Margins,
    baseline: GatePredictions | None,
    gate_data: Sequence[str] = (),
) -> Fitted:
    """Complete the spec `draft` from the file's predictions.

    The drift gate compares with `baseline` on validation and the further images, the data sets called `gate_data`.
    """
    temperature, points, conformal, validation = _fit_scores(draft, predictions, images)
    gate = _gate_predictions(predictions, images, temperature, validation.operating_points)
    comparison, drift = None, None
    if baseline is not None:
        pair = (baseline.unlabelled, gate.unlabelled)
        unlabelled = None if pair[0] is None or pair[1] is None else (pair[0], pair[1])
        comparison = compare(baseline.labelled, gate.labelled, unlabelled=unlabelled)
        drift = evaluate_drift(comparison, margins, measured_on=" + ".join((_VALIDATION, *gate_data)))
    training, test = images.select(predictions, "train"), images.select(predictions, "test")
    limits, members = None, {}
    if len(training.truth):
        reference = fit_ood_reference(training, validation, len(draft.labels))
        members[MEMBER] = ood_member(reference)
        measured, measured_on = (test, "test") if len(test.truth) else (validation, _VALIDATION)
        limits = choose_limits(reference, validation, measured, measured_on)
    spec = draft._replace(
        temperature=temperature,
        operating_points=points,
        conformal=conformal,
        image_quality=limits,
        drift=drift,
    )
    return Fitted(spec, members, validation, gate, comparison)


def images_for_views(images: EvaluationImages) -> Manifest:
    """Return the images that `fit_views` needs: validation, and the test split if there is one."""
    wanted = images.names["val"] | images.names.get("test", frozenset())
    manifest = images.manifest
    return dataclasses.replace(manifest, items=tuple(i for i in manifest.items if manifest.name(i) in wanted))


def fit_views(draft: ModelSpec, count: int, predictions: Predictions, images: EvaluationImages) -> Views:
    """Fit temperature and thresholds for `count` views, from predictions with so many."""
    temperature, points, conformal, _ = _fit_scores(draft, predictions, images)
    return Views(count, temperature, points, conformal)


def _fit_scores(
    draft: ModelSpec, predictions: Predictions, images: EvaluationImages
) -> tuple[float, tuple[OperatingPoint, ...], Conformal, Predictions]:
    """Fit temperature, operating points and thresholds of prediction sets on validation.

    Also return the predictions for validation at that temperature, with the operating points as measured there. The
    others are measured on the test split, if there is one.
    """
    validation = images.select(predictions, "val")
    temperature = float(np.float32(fit_temperature(validation.logits, validation.truth)))
    validation = _at_temperature(validation, temperature)
    fitted_on = (validation.scores, validation.truth, validation.groups)
    malignant = [label.malignant for label in draft.labels]
    points = operating_points(malignant, *fitted_on, measured_on=_VALIDATION)
    conformal = conformal_thresholds([label.label for label in draft.labels], *fitted_on, measured_on=_VALIDATION)
    test = _at_temperature(images.select(predictions, "test"), temperature)
    on_test = _measured_on_test(points, test, malignant)
    return temperature, on_test, conformal, dataclasses.replace(validation, operating_points=points)


def _gate_predictions(
    predictions: Predictions, images: EvaluationImages, temperature: float, points: tuple[OperatingPoint, ...]
) -> GatePredictions:
    labelled = dataclasses.replace(images.select(predictions, "val", GATE), operating_points=points)
    unlabelled = images.select(predictions, UNLABELLED)
    return GatePredictions(
        _at_temperature(labelled, temperature),
        _at_temperature(unlabelled, temperature) if len(unlabelled.truth) else None,
    )


def _at_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """Return the predictions with their scores at another temperature."""
    return dataclasses.replace(predictions, scores=softmax(predictions.logits, temperature).astype(np.float32))


def _measured_on_test(
    chosen: Sequence[OperatingPoint], test: Predictions, malignant: Sequence[bool | None]
) -> tuple[OperatingPoint, ...]:
    """Measure the operating points chosen on validation on the held-out test split, if there is one."""
    if not len(test.truth):
        return tuple(chosen)
    return tuple(
        measured_point(point.name, point.threshold, malignant, test.scores, test.truth, test.groups, measured_on="test")
        for point in chosen
    )
