"""Metrics: pure functions of the true classes `truth` (int[N]) and the `scores` (float[N,C]).

What cannot be computed, such as the recall of a class without images, is NaN and left out of averages.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import DataError

__all__ = [
    "Bools",
    "Floats",
    "Ints",
    "accuracy",
    "agreement",
    "auc",
    "balanced_accuracy",
    "brier",
    "class_aucs",
    "confusion",
    "ece",
    "kl",
    "log_loss",
    "macro_auc",
    "malignant_score",
    "mean_of_defined",
    "rates_at",
    "recalls",
    "reliability",
    "roc",
    "threshold_for_sensitivity",
    "top_accuracy",
    "youden_threshold",
]

Floats: TypeAlias = NDArray[np.floating]
Ints: TypeAlias = NDArray[np.integer]
Bools: TypeAlias = NDArray[np.bool_]

_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
SMALLEST = 1e-12  # smaller probabilities count as this, so that one zero does not make a mean infinite


def accuracy(truth: Ints, scores: Floats) -> float:
    """Return the share of images whose top class is the true class."""
    return _mean(scores.argmax(axis=1) == truth)


def top_accuracy(truth: Ints, scores: Floats, most: int) -> float:
    """Return the share of images whose true class is among the `most` top classes; NaN if that is every class."""
    if scores.shape[1] <= most:
        return float("nan")
    own = scores[np.arange(len(truth)), truth][:, None]
    earlier = np.arange(scores.shape[1]) < truth[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(axis=1)
    return _mean(rank < most)


def balanced_accuracy(truth: Ints, scores: Floats) -> float:
    """Return the mean recall of the classes that occur."""
    return mean_of_defined(recalls(truth, scores))


def recalls(truth: Ints, scores: Floats) -> NDArray[np.float64]:
    """Return for each class the share of its images with this top class; NaN for a class that does not occur."""
    classes = scores.shape[1]
    truth = truth.astype(np.intp)  # on a 32-bit system, bincount takes nothing wider
    counts = np.bincount(truth, minlength=classes)
    hits = np.bincount(truth[scores.argmax(axis=1) == truth], minlength=classes)
    shares = np.full(classes, np.nan)
    np.divide(hits, counts, out=shares, where=counts > 0)
    return shares


def confusion(truth: Ints, scores: Floats) -> NDArray[np.int64]:
    """Return counts [C,C]: one row per true class, one column per top class."""
    classes = scores.shape[1]
    pairs = truth.astype(np.intp) * classes + scores.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def auc(positive: Bools, score: Floats) -> float:
    """Return the probability that a positive scores above a negative, ties counting half; NaN without both kinds."""
    positive = np.asarray(positive, bool)
    above, below = np.sort(score[positive]), np.sort(score[~positive])
    if not len(above) or not len(below):
        return float("nan")
    lower, upper = (np.searchsorted(below, above, side) for side in _SIDES)
    return float((lower.sum() + upper.sum()) / (2 * len(above) * len(below)))


def class_aucs(truth: Ints, scores: Floats) -> NDArray[np.float64]:
    """Return the AUC of each class against all others."""
    return np.array([auc(truth == index, scores[:, index]) for index in range(scores.shape[1])])


def macro_auc(truth: Ints, scores: Floats) -> float:
    """Return the mean AUC of the classes that have one."""
    return mean_of_defined(class_aucs(truth, scores))


def brier(truth: Ints, scores: Floats) -> float:
    """Return the multi-class Brier score: squared errors summed over classes, from 0 (best) to 2."""
    squares = (scores.astype(np.float64) ** 2).sum(axis=1)
    return _mean(squares - 2 * _true_scores(truth, scores) + 1)


def ece(truth: Ints, scores: Floats, bins: int = 15) -> float:
    """Return the expected calibration error of the top score, in `bins` bins of equally many images."""
    if not len(truth):
        return float("nan")
    top = scores.max(axis=1).astype(np.float64)
    gap = top - (scores.argmax(axis=1) == truth)
    ordered = np.concatenate([[0.0], np.cumsum(gap[np.argsort(top, kind="stable")])])
    return float(np.abs(np.diff(ordered[_edges(len(truth), bins)])).sum() / len(truth))


def reliability(scores: Floats, bins: int = 15) -> list[NDArray[np.intp]]:
    """Return the rows of each bin of `ece`, by increasing top score, without empty bins."""
    order, edges = np.argsort(scores.max(axis=1).astype(np.float64), kind="stable"), _edges(len(scores), bins)
    return [rows for rows in np.split(order, edges[1:-1]) if len(rows)]


def log_loss(truth: Ints, scores: Floats) -> float:
    """Return the mean of -log(score of the true class)."""
    return _mean(-np.log(np.maximum(_true_scores(truth, scores), SMALLEST)))


def kl(reference: Floats, other: Floats) -> float:
    """Return the mean Kullback-Leibler divergence of `other` from `reference`, in nats."""
    p = np.maximum(reference.astype(np.float64), SMALLEST)
    q = np.maximum(other.astype(np.float64), SMALLEST)
    return _mean((p * np.log(p / q)).sum(axis=1))


def agreement(reference: Floats, other: Floats) -> float:
    """Return the share of images with the same top class in both."""
    return _mean(reference.argmax(axis=1) == other.argmax(axis=1))


def malignant_score(scores: Floats, mask: Bools) -> NDArray[np.float64]:
    """Sum the scores of the classes in `mask` (bool[C]), in the same order as the device."""
    total = np.zeros(len(scores))
    for index in np.flatnonzero(mask):
        total += scores[:, index]
    return total


def threshold_for_sensitivity(score: Floats, positive: Bools, sensitivity: float) -> float:
    """Return the largest threshold at which at least this share of the positives has `score >= threshold`."""
    reached = np.sort(np.asarray(score)[np.asarray(positive, bool)])[::-1]
    if not len(reached):
        raise DataError("no positive images to choose a threshold on")
    needed = int(np.ceil(round(sensitivity * len(reached), 9)))
    return float(reached[max(needed, 1) - 1])


def youden_threshold(score: Floats, positive: Bools) -> float:
    """Return the largest threshold that maximizes sensitivity + specificity of `score >= threshold`."""
    positive = np.asarray(positive, bool)
    if not positive.any() or positive.all():
        raise DataError("no positive or no negative images to choose a threshold on")
    order = np.argsort(-np.asarray(score), kind="stable")
    ordered, hits = np.asarray(score)[order], positive[order]
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal scores are on the same side of a threshold
    gain = np.cumsum(hits) / hits.sum() - np.cumsum(~hits) / (~hits).sum()
    return float(ordered[last][np.argmax(np.round(gain[last], 12))])


def roc(score: Floats, positive: Bools, most: int = 200) -> NDArray[np.float64]:
    """Return points [K,3] of the ROC curve from (0, 0) to (1, 1): threshold, false positive rate, sensitivity.

    A curve with more than `most` points is thinned evenly. Without both kinds of images there are no points.
    """
    positive = np.asarray(positive, bool)
    if not positive.any() or positive.all():
        return np.zeros((0, 3))
    order = np.argsort(-np.asarray(score), kind="stable")
    ordered, hits = np.asarray(score, np.float64)[order], positive[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    across = np.concatenate([[0.0], np.cumsum(~hits)[last] / (~hits).sum()])
    up = np.concatenate([[0.0], np.cumsum(hits)[last] / hits.sum()])
    points = np.stack([np.concatenate([[np.inf], ordered[last]]), across, up], axis=1)
    if len(points) <= most:
        return points
    kept = np.unique(np.searchsorted(across + up, np.linspace(0, 2, most) - 1e-9))
    return points[np.minimum(kept, len(points) - 1)]


def rates_at(score: Floats, positive: Bools, threshold: float) -> tuple[float, float]:
    """Return sensitivity and specificity of `score >= threshold`; NaN without positives or negatives."""
    called = score >= threshold
    return _mean(called[positive]), _mean(~called[~positive])


def mean_of_defined(values: NDArray[np.floating]) -> float:
    """Return the mean of the values that are not NaN; NaN without any."""
    return _mean(values[~np.isnan(values)])


def _edges(count: int, bins: int) -> NDArray[np.intp]:
    return np.arange(bins + 1) * count // bins


def _true_scores(truth: Ints, scores: Floats) -> NDArray[np.float64]:
    return scores[np.arange(len(truth)), truth].astype(np.float64)


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean()) if len(values) else float("nan")
