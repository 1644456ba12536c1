"""Learning from other networks: the labels softened by what finished runs answer to the same pictures."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest
from spot_bench.run.directory import read_run_description
from spot_bench.stats.calibration import softmax
from spot_edge.errors import DataError
from spot_train.data.pixels import cached_pixels
from spot_train.labels.labelset import LabelSet
from spot_train.loop.fit import predict_logits
from spot_train.recipes.recipe import Train

__all__ = ["check_teachers", "softened"]


def check_teachers(train: Train, labels: LabelSet) -> None:
    """DataError for a teacher that is no finished run, or that knows other classes."""
    wanted = [label.label for label in labels.labels]
    for name in train.teachers:
        known = [label["label"] for label in read_run_description(Path(name))["labels"]]
        if known != wanted:
            raise DataError(f"{name}: a teacher of other classes ({', '.join(known)})")


def softened(targets: NDArray[np.float32], settings: Train, train: Manifest, folder: Path) -> NDArray[np.float32]:
    """`targets` mixed with the teachers' mean answer to each training picture, unchanged by augmentation."""
    answers = np.zeros_like(targets)
    for name in settings.teachers:
        try:
            body = keras.saving.load_model(Path(name) / "model.keras", compile=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{name}: its model.keras cannot be opened: {error}") from error
        logits = predict_logits(body, cached_pixels(train, body.input_shape[1], folder))
        answers += softmax(logits / settings.teacher_temperature).astype(np.float32) / len(settings.teachers)
    return targets * (1 - settings.teacher_share) + answers * settings.teacher_share
