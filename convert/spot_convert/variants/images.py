"""The pictures that a quantizer watches to learn the range of every activation.

The images that every file of a family answers, in one pass: which of them serve for what."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.data.splits import in_turns
from spot_edge.errors import DataError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec

__all__ = ["FEWEST", "MOST", "SEED", "Pictures", "calibration_tensors", "choose"]

FEWEST, MOST, SEED = 8, 200, 0


def choose(manifest: Manifest, fewest: int = FEWEST, most: int = MOST) -> list[Item]:
    """`fewest` to `most` items of the `calibrate` part, the classes taking turns."""
    chosen = in_turns(manifest.part("calibrate").items, most, SEED)
    if len(chosen) < fewest:
        raise DataError(
            f"{manifest.origin}: {len(chosen)} images to calibrate with: int8 needs at least {fewest}: add some"
        )
    return chosen


def calibration_tensors(items: list[Item], spec: ImageSpec) -> NDArray[np.uint8]:
    """`uint8[N,S,S,3]` of the items, made through the device's own image contract."""
    return np.concatenate([prepare(Source.of(item.image), spec).tensor for item in items])


_FEWER = {"calibrate": 50, "train": 200}
TRAINING = 2000  # whose embeddings give the distances; the classes in turns


@dataclass(frozen=True, slots=True)
class Pictures:
    """The chosen calibration images, a sample of training, all of validation, and the test part where there is one."""

    manifest: Manifest
    parts: dict[str, frozenset[str]]  # names of the images of each part

    @classmethod
    def of(cls, manifest: Manifest, calibrating: Sequence[Item]) -> Pictures:
        """Those of a split data set; DataError where it has no validation part."""
        chosen: dict[str, Sequence[Item]] = {"calibrate": calibrating, "val": manifest.part("val").items}
        if "train" in manifest.parts:
            chosen["train"] = in_turns(manifest.part("train").items, TRAINING)
        if "test" in manifest.parts:
            chosen["test"] = manifest.part("test").items
        every = tuple(item for items in chosen.values() for item in items)
        names = {part: frozenset(manifest.name(item) for item in items) for part, items in chosen.items()}
        return cls(dataclasses.replace(manifest, items=every), names)

    def fewer(self) -> Pictures:
        """For a runtime that takes a quarter of a second a picture: all of validation, by which the gate decides.

        A sample of calibration and training, and none of test: thresholds are reported as realised on validation.
        """
        kept = [item for item in self.manifest.items if self.manifest.name(item) in self.parts["val"]]
        parts = {"val": self.parts["val"]}
        for part, most in _FEWER.items():
            own = [each for each in self.manifest.items if self.manifest.name(each) in self.parts.get(part, ())][:most]
            parts[part] = frozenset(map(self.manifest.name, own))
            kept += own
        return Pictures(dataclasses.replace(self.manifest, items=tuple(kept)), parts)

    def only(self, found: Predictions, part: str) -> Predictions:
        """The answers to the images of one part."""
        wanted = self.parts.get(part, frozenset())
        return found.where(np.array([image in wanted for image in found.images.tolist()], bool))

    def kept(self, found: Predictions, items: Sequence[Item]) -> NDArray[np.bool_]:
        """Which of `items` were answered: an image that cannot be judged is left out of the answers."""
        answered = set(found.images.tolist())
        return np.array([self.manifest.name(item) in answered for item in items], bool)
