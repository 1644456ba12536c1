"""Classify the images of a data set as the device does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest
from spot_bench.run.progress import progress_bar
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, InputError

MELANOMA = "mel"
POSITIVE = "melanoma"  # the label of melanomas in a data set that does not use the model's classes


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """What the device predicts for each image of one data set."""

    name: str
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    top: NDArray[np.str_]  # the top class; empty for an image that fails the quality check
    category: NDArray[np.str_]
    possible: NDArray[np.bool_]  # per class, whether the prediction set holds it; none if the quality check fails
    skipped: int  # images that could not be read or classified

    @property
    def groups(self) -> NDArray[np.str_]:
        """The lesion of each image."""
        return np.array([item.group for item in self.items])

    @property
    def truth(self) -> NDArray[np.str_]:
        """The label of each image."""
        return np.array([item.label for item in self.items])

    @property
    def positive(self) -> str:
        """The label of melanomas."""
        return positive_label(self.truth.tolist())


def positive_label(labels: Collection[str]) -> str:
    """Return the label of melanomas in a data set with these labels."""
    return POSITIVE if POSITIVE in labels else MELANOMA


def classify(classifier: Classifier, name: str, manifest: Manifest) -> Classified:
    """Classify every image as the device does. DataError if no image could be classified."""
    labels = tuple(label.label for label in classifier.model.spec.labels)
    kept, top, category, possible, skipped = [], [], [], [], 0
    with progress_bar(name, len(manifest.items)) as step:
        for item in manifest.items:
            try:
                prediction = classifier.classify(item.image)
            except InputError:
                skipped += 1
            else:
                kept.append(item)
                top.append("" if prediction.quality else prediction.top.label)
                category.append(prediction.triage.category if prediction.triage else "")
                named = prediction.prediction_set.labels if prediction.prediction_set else ()
                possible.append([not prediction.quality and label in named for label in labels])
            step(1)
    if not kept:
        raise DataError(f"{name}: none of {skipped} images could be classified")
    return Classified(name, labels, tuple(kept), np.array(top), np.array(category), np.array(possible), skipped)
