"""Fit the temperature and the operating points of the triage on held-out images after training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.stats.intervals import DRAWS, Estimate, proportion
from spot_bench.stats.metrics import Bools, Floats, Ints, malignant_score, threshold_for_sensitivity
from spot_edge.errors import DataError
from spot_edge.model.spec import OperatingPoint, Rate

__all__ = [
    "SENSITIVITIES",
    "TEMPERATURES",
    "fit_temperature",
    "measured_point",
    "measured_rates",
    "operating_points",
    "softmax",
]

TEMPERATURES = (0.05, 20.0)
SENSITIVITIES = (0.90, 0.95)
_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 50  # each shrinks the bracket of log T by the golden ratio, in all from 6 to 2e-10


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return probabilities [N,C] of logits [N,C] at a temperature."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(logits: Floats, truth: Ints) -> float:
    """Return the temperature T from 0.05 to 20 at which softmax(logits / T) has the smallest log loss on `truth`.

    The loss is convex in 1/T, so it has one minimum in log T, which golden-section search finds.
    """
    if not len(truth):
        raise DataError("no images to fit a temperature on")
    below_top = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    true = below_top[np.arange(len(truth)), truth]

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        return float((np.log(np.exp(below_top * scale).sum(axis=1)) - true * scale).mean())

    low, high = (math.log(limit) for limit in TEMPERATURES)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    for _ in range(_STEPS):
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = loss(right)
    return min(max(math.exp((low + high) / 2), TEMPERATURES[0]), TEMPERATURES[1])


def operating_points(
    malignant: Sequence[bool | None],
    scores: Floats,
    truth: Ints,
    groups: Sequence[Any] | NDArray[Any],
    sensitivities: Sequence[float] = SENSITIVITIES,
    *,
    measured_on: str,
) -> tuple[OperatingPoint, ...]:
    """Choose for each sensitivity the largest threshold on the malignant score that reaches it on these images.

    `malignant` says for each class whether it is. Return nothing without malignant and benign images.
    """
    mask = np.array([bool(flag) for flag in malignant])
    positive = mask[truth]
    if not positive.any() or positive.all():
        return ()
    score = malignant_score(scores, mask)
    chosen = [(f"sensitivity-{100 * s:g}", threshold_for_sensitivity(score, positive, s)) for s in sensitivities]
    return tuple(
        measured_point(name, min(threshold, 1.0), malignant, scores, truth, groups, measured_on=measured_on)
        for name, threshold in chosen
    )


def measured_point(
    name: str,
    threshold: float,
    malignant: Sequence[bool | None],
    scores: Floats,
    truth: Ints,
    groups: Sequence[Any] | NDArray[Any],
    *,
    measured_on: str,
) -> OperatingPoint:
    """Measure a threshold that was chosen on other images. Raise DataError without malignant and benign images."""
    mask = np.array([bool(flag) for flag in malignant])
    positive = mask[truth]
    if not positive.any() or positive.all():
        raise DataError(f"{measured_on}: measuring {name} needs malignant and benign images")
    sensitivity, specificity = measured_rates(malignant_score(scores, mask), positive, threshold, groups)
    return OperatingPoint(name, threshold, _rate(sensitivity), _rate(specificity), measured_on)


def measured_rates(
    score: Floats, positive: Bools, threshold: float, groups: Sequence[Any] | NDArray[Any], draws: int = DRAWS
) -> tuple[Estimate, Estimate]:
    """Estimate sensitivity and specificity of `score >= threshold`, with intervals over groups."""
    called, lesions = score >= threshold, np.asarray(groups)
    return (
        proportion(called[positive], lesions[positive], draws),
        proportion(~called[~positive], lesions[~positive], draws),
    )


def _rate(estimate: Estimate) -> Rate:
    return Rate(estimate.value, estimate.low, estimate.high, estimate.groups)
