"""The pictures that a quantizer watches to learn the range of every activation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from spot_bench.manifest import Item, Manifest
from spot_edge.errors import DataError
from spot_edge.image import prepare
from spot_edge.modelspec import ImageSpec
from spot_edge.source import Source

__all__ = ["FEWEST", "MOST", "SEED", "calibration_tensors", "choose", "in_turns"]

FEWEST, MOST, SEED = 8, 200, 0


def choose(manifest: Manifest, fewest: int = FEWEST, most: int = MOST) -> list[Item]:
    """`fewest` to `most` items of the `calibrate` part, the classes taking turns."""
    chosen = in_turns(manifest.part("calibrate").items, most)
    if len(chosen) < fewest:
        raise DataError(
            f"{manifest.origin}: {len(chosen)} images to calibrate with: int8 needs at least {fewest}: add some"
        )
    return chosen


def in_turns(items: Sequence[Item], most: int, seed: int = SEED) -> list[Item]:
    """At most so many of `items`, the classes taking turns, each in a random order; the same ones for the same seed."""
    by_label: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_label[item.label].append(item)
    random = np.random.default_rng(seed)
    queues = [[by_label[label][i] for i in random.permutation(len(by_label[label]))] for label in sorted(by_label)]
    return [item for turn in zip_longest(*queues) for item in turn if item is not None][:most]


def calibration_tensors(items: list[Item], spec: ImageSpec) -> NDArray[np.uint8]:
    """`uint8[N,S,S,3]` of the items, made through the device's own image contract."""
    return np.concatenate([prepare(Source.of(item.image), spec).tensor for item in items])
