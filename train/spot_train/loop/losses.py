"""The loss for images whose label allows several classes.

Such an image is labelled with a set: "not melanoma" allows six of HAM10000's seven classes. Its loss is minus the
logarithm of the summed probability of the set, which equals cross-entropy for a set of one class.

Targets have one column per class, then one per set. A row is a distribution over these columns, and the loss is linear
in it. So mixup of two sets, label smoothing and a teacher's soft labels all work as with plain targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

__all__ = ["SetCrossentropy", "allowed_classes", "set_accuracy"]

_EXCLUDED = -1e9  # added to a logit; a finite number, so that gradients stay finite


def allowed_classes(sets: Sequence[Sequence[int]], classes: int) -> NDArray[np.bool_]:
    """Return `bool[classes + len(sets), classes]`: the classes that each column of the targets allows."""
    allowed = np.zeros((len(sets), classes), bool)
    for row, members in zip(allowed, sets, strict=True):
        row[list(members)] = True
    return np.concatenate([np.eye(classes, dtype=bool), allowed])


class SetCrossentropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of logits with targets over classes and sets of classes."""

    def __init__(self, sets: Sequence[Sequence[int]], classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__(name="set_crossentropy", dtype="float32")
        self._classes, self._smoothing = classes, label_smoothing
        allowed = allowed_classes(sets, classes)[classes:]
        self._mask = np.where(allowed, 0.0, _EXCLUDED).astype(np.float32)
        self._uniform = np.array([label_smoothing / classes] * classes + [0.0] * len(sets), np.float32)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image."""
        logits, targets = ops.cast(y_pred, "float32"), ops.cast(y_true, "float32")
        if self._smoothing:
            targets = targets * (1 - self._smoothing) + ops.convert_to_tensor(self._uniform)
        of_sets = ops.logsumexp(ops.expand_dims(logits, 1) + ops.convert_to_tensor(self._mask), axis=-1)
        scores = ops.concatenate([logits, of_sets], axis=-1)
        return -ops.sum(targets * (scores - ops.logsumexp(logits, axis=-1, keepdims=True)), axis=-1)


def set_accuracy(sets: Sequence[Sequence[int]], classes: int) -> Callable[[Any, Any], Any]:
    """Return a metric: the share of images whose top class their target's largest column allows."""
    allowed = allowed_classes(sets, classes).astype(np.float32)

    def accuracy(y_true: Any, y_pred: Any) -> Any:
        row = ops.take(ops.convert_to_tensor(allowed), ops.argmax(y_true, axis=-1), axis=0)
        return ops.sum(row * ops.one_hot(ops.argmax(y_pred, axis=-1), classes), axis=-1)

    return accuracy
