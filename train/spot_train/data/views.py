"""Augmented views of the training images that can be made again, and what teachers predict about them.

View v of an image has the same random changes whenever it is made, at every size of crops. So a student sees the very
image that its teachers saw ("consistent teaching"), and the teachers run once per view instead of once per epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spot_train.data.augment import DRAWS

__all__ = ["Views", "mix_targets", "occurrences", "permitted_predictions", "view_draws"]

_STREAM = 77  # separates these random numbers from those of the epochs


@lru_cache(maxsize=128)
def view_draws(seed: int, view: int, count: int) -> NDArray[np.float32]:
    """Return `float32[count,DRAWS]`: the random numbers of every image's view, as RandomAugmentation takes them."""
    return np.random.default_rng((_STREAM, seed, view)).random((count, DRAWS), np.float32)


@dataclass(frozen=True, slots=True)
class Views:
    """The teachers' predictions about several views of each image, over the classes."""

    seed: int
    share: float  # weight of the teachers in the target
    predictions: NDArray[np.float16]  # view, image, class

    def choose(self, epoch: int, occurrence: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the view to show: the next one in each epoch, and each time that an epoch repeats an image."""
        return (epoch + occurrence) % len(self.predictions)

    def draws(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the random numbers of each row's view."""
        result = np.empty((len(rows), DRAWS), np.float32)
        for view in np.unique(views).tolist():
            chosen = views == view
            result[chosen] = view_draws(self.seed, view, self.predictions.shape[1])[rows[chosen]]
        return result

    def targets(
        self, targets: NDArray[np.float32], rows: NDArray[np.int64], views: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Mix the targets of these rows with the teachers' predictions about each row's view."""
        return mix_targets(targets, self.predictions[views, rows], self.share)


def mix_targets(targets: NDArray[np.float32], predictions: NDArray[np.floating], share: float) -> NDArray[np.float32]:
    """Mix targets over classes and sets of classes with predictions over the classes, which get the weight `share`."""
    mixed = targets * (1 - share)
    mixed[:, : predictions.shape[1]] += predictions.astype(np.float32) * share
    return mixed


def permitted_predictions(predictions: NDArray[np.floating], permitted: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Restrict predictions to the classes that each image may be, and scale them to a sum of 1.

    `permitted` has an indicator row for each image: the classes of its set, or every class if it has a label of one
    class, where the teacher's doubt is what the student learns. For "not melanoma" the result is the teacher's
    distribution over the other classes. Where the teacher gives the whole set no probability, its classes get equal
    shares. `predictions` may have leading dimensions, such as views.
    """
    inside = np.where(permitted, predictions, 0.0)
    total = inside.sum(axis=-1, keepdims=True)
    equal = permitted / permitted.sum(axis=-1, keepdims=True)
    return np.where(total > 0, inside / np.where(total > 0, total, 1), equal).astype(predictions.dtype)


def occurrences(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each position of `order` how often its value comes before."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[first, len(order)])
    result = np.empty(len(order), np.int64)
    result[by_value] = np.arange(len(order)) - np.repeat(first, lengths)
    return result
