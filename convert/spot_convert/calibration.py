"""The pictures that a quantizer watches to learn the range of every activation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spot_bench.manifest import Item, Manifest
from spot_bench.turns import in_turns
from spot_edge.errors import DataError
from spot_edge.image import prepare
from spot_edge.modelspec import ImageSpec
from spot_edge.source import Source

__all__ = ["FEWEST", "MOST", "SEED", "calibration_tensors", "choose"]

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
