"""The images that every file of a family answers, in one pass: which of them serve for what."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spot_bench.manifest import Item, Manifest
from spot_bench.predict import Predictions
from spot_bench.turns import in_turns

__all__ = ["Pictures"]

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
