"""Fit and measure on a file's own predictions: temperature, thresholds, image quality limits and accuracy drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.stats.calibration import fit_temperature, measured_point, operating_points, softmax
from spot_bench.stats.conformal import conformal_thresholds
from spot_convert.checks.image_quality import choose_limits, fit_ood_reference, ood_member
from spot_convert.images import EvaluationImages
from spot_edge.model.spec import ModelSpec, OperatingPoint
from spot_edge.prediction.ood import MEMBER

__all__ = ["Fitted", "fit"]

_VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A spec with everything fitted, the zip members that belong to it, and the predictions it was fitted on."""

    spec: ModelSpec
    members: dict[str, bytes]
    validation: Predictions
    comparison: dict[str, Any] | None  # with the float32 baseline


def fit(
    draft: ModelSpec,
    predictions: Predictions,
    images: EvaluationImages,
    margins: Margins,
    baseline: Predictions | None,
) -> Fitted:
    """Complete the spec `draft` from the file's predictions; the drift gate compares with `baseline` on validation."""
    validation = images.select(predictions, "val")
    temperature = float(np.float32(fit_temperature(validation.logits, validation.truth)))
    validation = _at_temperature(validation, temperature)
    malignant = [label.malignant for label in draft.labels]
    points = operating_points(
        malignant, validation.scores, validation.truth, validation.groups, measured_on=_VALIDATION
    )
    validation = dataclasses.replace(validation, operating_points=points)
    comparison, drift = None, None
    if baseline is not None:
        comparison = compare(baseline, validation)
        drift = evaluate_drift(comparison, margins, measured_on=_VALIDATION)
    labels = [label.label for label in draft.labels]
    training, test = images.select(predictions, "train"), images.select(predictions, "test")
    limits, members = None, {}
    if len(training.truth):
        reference = fit_ood_reference(training, validation, len(labels))
        members[MEMBER] = ood_member(reference)
        measured, measured_on = (test, "test") if len(test.truth) else (validation, _VALIDATION)
        limits = choose_limits(reference, validation, measured, measured_on)
    spec = draft._replace(
        temperature=temperature,
        operating_points=_measured_on_test(points, _at_temperature(test, temperature), malignant),
        conformal=conformal_thresholds(
            labels, validation.scores, validation.truth, validation.groups, measured_on=_VALIDATION
        ),
        image_quality=limits,
        drift=drift,
    )
    return Fitted(spec, members, validation, comparison)


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
