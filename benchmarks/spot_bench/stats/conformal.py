"""Choose conformal thresholds: the lowest score with which a class is in the prediction set.

Split conformal prediction on held-out images, with one threshold for all classes and one per class. Images of one
lesion are not independent: every lesion counts once, its images share its weight, and the guarantee is for one image of
a new lesion (hierarchical conformal prediction).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.stats.intervals import DRAWS, Estimate, bootstrap, proportion
from spot_bench.stats.metrics import Floats, Ints
from spot_edge.errors import DataError
from spot_edge.model.spec import Conformal, SetThreshold

__all__ = ["COVERAGE", "conformal_thresholds", "measured_sets", "set_threshold"]

COVERAGE = 0.90
_ALSO = {"mel": 0.95}  # melanoma must not be missed


def conformal_thresholds(
    labels: Sequence[str],
    scores: Floats,
    truth: Ints,
    groups: Sequence[Any] | NDArray[Any],
    coverages: Mapping[str, float] = _ALSO,
    *,
    measured_on: str,
) -> Conformal:
    """Choose thresholds so that prediction sets include the true class with probability COVERAGE, or `coverages`.

    A class without images has no threshold of its own and uses the common one.
    """
    own, lesions = scores[np.arange(len(truth)), truth], np.asarray(groups)
    classes = {}
    for index, label in enumerate(labels):
        rows = truth == index
        if rows.any():
            classes[label] = set_threshold(own[rows], lesions[rows], coverages.get(label, COVERAGE))
    return Conformal(set_threshold(own, lesions, COVERAGE), classes, measured_on)


def measured_sets(
    thresholds: Floats, scores: Floats, truth: Ints, groups: Sequence[Any] | NDArray[Any], draws: int = DRAWS
) -> tuple[Estimate, Estimate]:
    """Estimate how often prediction sets include the true class, and their size. `thresholds` has one per column."""
    members = scores >= thresholds
    covered = members[np.arange(len(truth)), truth]
    return (
        proportion(covered, groups, draws),
        bootstrap(lambda sizes: float(sizes.mean()), groups, members.sum(axis=1), draws=draws),
    )


def set_threshold(scores: Floats, groups: Sequence[Any] | NDArray[Any], coverage: float) -> SetThreshold:
    """Return the largest threshold that the true class of a new lesion's image reaches with probability `coverage`.

    `scores` are those of the true classes. With too few lesions the threshold is 0: every class is in the set.
    """
    if not len(scores):
        raise DataError("no images to choose a conformal threshold on")
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(place)
    lesions = len(sizes)
    order = np.argsort(scores, kind="stable")
    ordered, weights = np.asarray(scores, np.float64)[order], (1 / sizes[place])[order]
    below = np.concatenate([[0.0], np.cumsum(weights)])[np.searchsorted(ordered, ordered, "left")]
    allowed = (1 - coverage) * (lesions + 1) - 1  # the new lesion counts as one
    kept = ordered[below <= allowed + 1e-9]
    return SetThreshold(coverage, float(kept[-1]) if len(kept) else 0.0, lesions)
