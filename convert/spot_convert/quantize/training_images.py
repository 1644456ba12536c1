"""The pictures that a variant is fine-tuned with: of the training part, rare classes as often as common ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.splits import in_turns
from spot_bench.run.progress import Bar
from spot_convert.quantize.distillation import BATCH
from spot_convert.run import Run
from spot_convert.variants.images import SEED
from spot_edge.errors import DataError, InputError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare

__all__ = ["FEWEST", "MOST", "training_tensors"]

FEWEST, MOST = 8, 6400


def training_tensors(run: Run, bar: Bar) -> NDArray[np.uint8]:
    """`uint8[N,S,S,3]` of as many training images as the steps of fine-tuning use, MOST at most.

    Made by the device's own image contract. Images that cannot be read are left out. DataError where too few are left.
    """
    items = in_turns(run.manifest.part("train").items, min(MOST, run.retraining.steps * BATCH), SEED)
    tensors = np.empty((len(items), run.image.size, run.image.size, 3), np.uint8)
    count = 0
    with bar("training images", len(items)) as more:
        for item in items:
            try:
                tensors[count] = prepare(Source.of(item.image), run.image).tensor[0]
                count += 1
            except InputError:
                pass
            more(1)
    if count < FEWEST:
        raise DataError(
            f"{run.manifest.origin}: {count} training images to fine-tune with: the variants that train need at least "
            f"{FEWEST}: add some, or leave those variants out"
        )
    return tensors[:count]
