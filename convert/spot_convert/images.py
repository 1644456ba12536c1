"""Choose the images of a conversion: to calibrate with, to fine-tune with, and to evaluate every file on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.data.splits import balanced_sample
from spot_bench.run.progress import Bar
from spot_convert.quantize.distillation import BATCH
from spot_convert.run import Run
from spot_edge.errors import DataError, InputError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec

__all__ = [
    "MIN_CALIBRATION",
    "SEED",
    "EvaluationImages",
    "choose_calibration_images",
    "image_tensors",
    "training_tensors",
]

MIN_CALIBRATION, MAX_CALIBRATION = 8, 200
MIN_TRAINING, MAX_TRAINING = 8, 6400
SEED = 0
OOD_TRAINING = 2000  # training images whose embeddings define out-of-distribution distances
_REDUCED = {"calibrate": 50, "train": 200}


def choose_calibration_images(manifest: Manifest, at_least: int = MIN_CALIBRATION) -> list[Item]:
    """Choose up to MAX_CALIBRATION items of the calibration split, balanced over the classes.

    Raise DataError if there are fewer than `at_least`.
    """
    chosen = balanced_sample(manifest.split("calibrate").items, MAX_CALIBRATION, SEED)
    if len(chosen) < at_least:
        raise DataError(
            f"{manifest.origin}: only {len(chosen)} calibration images, but int8 needs at least {at_least}: add some"
        )
    return chosen


def image_tensors(items: list[Item], spec: ImageSpec) -> NDArray[np.uint8]:
    """Prepare the items as `uint8[N,S,S,3]`, exactly as the device does."""
    return np.concatenate([prepare(Source.of(item.image), spec).tensor for item in items])


def training_tensors(run: Run, bar: Bar) -> NDArray[np.uint8]:
    """Prepare training images for fine-tuning as `uint8[N,S,S,3]`, rare classes as often as common ones.

    Take as many as the steps of fine-tuning use, at most MAX_TRAINING, and leave out images that cannot be read.
    Raise DataError if fewer than MIN_TRAINING remain.
    """
    items = balanced_sample(run.manifest.split("train").items, min(MAX_TRAINING, run.retraining.steps * BATCH), SEED)
    tensors = np.empty((len(items), run.image.size, run.image.size, 3), np.uint8)
    count = 0
    with bar("training images", len(items)) as advance:
        for item in items:
            try:
                tensors[count] = prepare(Source.of(item.image), run.image).tensor[0]
                count += 1
            except InputError:
                pass
            advance(1)
    if count < MIN_TRAINING:
        raise DataError(
            f"{run.manifest.origin}: only {count} training images, but fine-tuned variants need at least "
            f"{MIN_TRAINING}: add some, or leave out these variants"
        )
    return tensors[:count]


@dataclass(frozen=True, slots=True)
class EvaluationImages:
    """The images that every file classifies, in one pass.

    They are the chosen calibration images, a sample of training, all of validation, and the test split if there is one.
    """

    manifest: Manifest
    names: dict[str, frozenset[str]]  # of the images, by split

    @classmethod
    def of(cls, manifest: Manifest, calibration: Sequence[Item]) -> EvaluationImages:
        """Collect them from a split data set. Raise DataError if it has no validation split."""
        chosen: dict[str, Sequence[Item]] = {"calibrate": calibration, "val": manifest.split("val").items}
        if "train" in manifest.splits:
            chosen["train"] = balanced_sample(manifest.split("train").items, OOD_TRAINING)
        if "test" in manifest.splits:
            chosen["test"] = manifest.split("test").items
        every = tuple(item for items in chosen.values() for item in items)
        names = {split: frozenset(manifest.name(item) for item in items) for split, items in chosen.items()}
        return cls(dataclasses.replace(manifest, items=every), names)

    def reduced(self) -> EvaluationImages:
        """Keep fewer images, for a runtime that needs a quarter of a second per image.

        All of validation stays, because the drift gate decides on it. Samples of calibration and training stay.
        Nothing of test stays: thresholds are then reported as measured on validation.
        """
        kept = [item for item in self.manifest.items if self.manifest.name(item) in self.names["val"]]
        names = {"val": self.names["val"]}
        for split, most in _REDUCED.items():
            own = [item for item in self.manifest.items if self.manifest.name(item) in self.names.get(split, ())][:most]
            names[split] = frozenset(map(self.manifest.name, own))
            kept += own
        return EvaluationImages(dataclasses.replace(self.manifest, items=tuple(kept)), names)

    def select(self, predictions: Predictions, split: str) -> Predictions:
        """Return the predictions for the images of one split."""
        wanted = self.names.get(split, frozenset())
        return predictions.where(np.array([image in wanted for image in predictions.images.tolist()], bool))

    def predicted(self, predictions: Predictions, items: Sequence[Item]) -> NDArray[np.bool_]:
        """Tell which of `items` have a prediction: unreadable images have none."""
        known = set(predictions.images.tolist())
        return np.array([self.manifest.name(item) in known for item in items], bool)
