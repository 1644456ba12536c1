"""Choose the images of a conversion: to calibrate with, to fine-tune with, and to evaluate every file on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.further import joined, read_further, read_unlabelled, refuse_used
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
    "GATE",
    "MIN_CALIBRATION",
    "SEED",
    "UNLABELLED",
    "EvaluationImages",
    "GateImages",
    "choose_calibration_images",
    "gate_images",
    "image_tensors",
    "training_tensors",
]

MIN_CALIBRATION, MAX_CALIBRATION = 8, 200
MIN_TRAINING, MAX_TRAINING = 8, 6400
SEED = 0
OOD_TRAINING = 2000  # training images whose embeddings define out-of-distribution distances
GATE, UNLABELLED = "gate", "unlabelled"  # further images, beside the splits
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
class GateImages:
    """Further images on which only the drift gate decides."""

    labelled: tuple[Item, ...] = ()  # they join validation
    unlabelled: tuple[Item, ...] = ()  # for the criterion on flips; their label is a placeholder


def gate_images(run: Run, data: Mapping[str, Path], unlabelled: Mapping[str, Path]) -> GateImages:
    """Read the further images of the gate: the manifests that the recipe's `[gate]` names, and others.

    Raise DataError if a name of the recipe has no manifest, for labels that are no classes of the run, and for images
    that the run trained or calibrated with.
    """
    for kind, names, given in (("data", run.margins.data, data), ("unlabelled", run.margins.unlabelled, unlabelled)):
        missing = [name for name in names if name not in given]
        if missing:
            raise DataError(f"the recipe's gate uses {missing[0]!r}: add --gate-{kind} {missing[0]}=MANIFEST")
    labels = [label.label for label in run.labels]
    found = {
        "data": [read_further(path) for path in data.values()],
        "unlabelled": [read_unlabelled(path, labels[0]) for path in unlabelled.values()],
    }
    for manifest in found["data"]:
        unknown = [label for label in manifest.labels if label not in labels]
        if unknown:
            raise DataError(f"{manifest.origin}: {unknown[0]!r} is none of the run's classes, {', '.join(labels)}")
    for manifest in (*found["data"], *found["unlabelled"]):
        refuse_used(manifest, run.manifest, *run.sources)
    joined([run.manifest, *found["data"], *found["unlabelled"]])  # refuses an image that two of them list
    items = [tuple(item for manifest in each for item in manifest.items) for each in found.values()]
    return GateImages(*items)


@dataclass(frozen=True, slots=True)
class EvaluationImages:
    """The images that every file classifies, in one pass.

    They are the chosen calibration images, a sample of training, all of validation, the test split if there is one, and
    the further images of the drift gate.
    """

    manifest: Manifest
    names: dict[str, frozenset[str]]  # of the images, by split

    @classmethod
    def of(cls, manifest: Manifest, calibration: Sequence[Item], further: GateImages | None = None) -> EvaluationImages:
        """Collect them from a split data set. Raise DataError if it has no validation split."""
        chosen: dict[str, Sequence[Item]] = {"calibrate": calibration, "val": manifest.split("val").items}
        if "train" in manifest.splits:
            chosen["train"] = balanced_sample(manifest.split("train").items, OOD_TRAINING)
        if "test" in manifest.splits:
            chosen["test"] = manifest.split("test").items
        if further is not None:
            chosen[GATE], chosen[UNLABELLED] = further.labelled, further.unlabelled
        every = tuple(item for items in chosen.values() for item in items)
        names = {split: frozenset(manifest.name(item) for item in items) for split, items in chosen.items()}
        return cls(dataclasses.replace(manifest, items=every), names)

    def reduced(self) -> EvaluationImages:
        """Keep fewer images, for a runtime that needs a quarter of a second per image.

        All of validation and of the gate's further images stay, because the drift gate decides on them. Samples of
        calibration and training stay. Nothing of test stays: thresholds are then reported as measured on validation.
        """
        names = {split: self.names[split] for split in ("val", GATE, UNLABELLED) if split in self.names}
        kept = [item for own in names.values() for item in self.manifest.items if self.manifest.name(item) in own]
        for split, most in _REDUCED.items():
            own = [item for item in self.manifest.items if self.manifest.name(item) in self.names.get(split, ())][:most]
            names[split] = frozenset(map(self.manifest.name, own))
            kept += own
        return EvaluationImages(dataclasses.replace(self.manifest, items=tuple(kept)), names)

    def select(self, predictions: Predictions, *splits: str) -> Predictions:
        """Return the predictions for the images of one split, or of several."""
        wanted = frozenset().union(*(self.names.get(split, frozenset()) for split in splits))
        return predictions.where(np.array([image in wanted for image in predictions.images.tolist()], bool))

    def predicted(self, predictions: Predictions, items: Sequence[Item]) -> NDArray[np.bool_]:
        """Tell which of `items` have a prediction: unreadable images have none."""
        known = set(predictions.images.tolist())
        return np.array([self.manifest.name(item) in known for item in items], bool)
