"""What the device tells of every image beside the first rank: how near a tie it is, the triage category, the set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spot_bench.metrics import Bools, Floats
from spot_bench.predict import Predictions
from spot_bench.summary import malignant_scores

__all__ = ["CATEGORIES", "categories", "margins", "sets"]

CATEGORIES = ("routine", "review soon", "review now")  # by urgency


def margins(scores: Floats) -> NDArray[np.float64]:
    """The first score less the second."""
    if scores.shape[1] < 2:
        return np.ones(len(scores))
    second, first = np.sort(scores, axis=1).T[-2:]
    return np.asarray(first - second, np.float64)


def categories(predictions: Predictions) -> NDArray[np.int64] | None:
    """The triage category of every image as a place in CATEGORIES, as `spot_edge.prediction.judge` gives it.

    From the scores alone: whether a picture was fit to be judged is not asked. None for a model without operating
    points.
    """
    if not predictions.operating_points:
        return None
    limits = [point.threshold for point in predictions.operating_points]
    score, _ = malignant_scores(predictions)
    return (score >= min(limits)).astype(np.int64) + (score >= max(limits))


def sets(predictions: Predictions) -> Bools | None:
    """Which classes (columns) are in every image's set, as `spot_edge.prediction.set_of_classes` gives it.

    None for a model without conformal thresholds.
    """
    if predictions.conformal is None:
        return None
    own = predictions.conformal.classes
    limits = [own[label].threshold if label in own else -np.inf for label in predictions.labels]
    return np.asarray(predictions.scores >= np.array(limits, np.float64))
