"""Reducing sharper images to the side of the least sharp source: which images, and how often."""

from __future__ import annotations

import numpy as np
from PIL import Image

from spot_train.data.batches import Batches, Examples
from spot_train.data.sharpness import sharpness_of
from spot_train.recipes.recipe import Train


def test_sharpness_reduces_only_sharper_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8)
    step = sharpness_of(0.5, (0, 24, 30), (2, 2, 2))
    assert step is not None
    rows = np.array([0, 2, 3, 4, 5])
    given = step.apply(pixels[rows], rows, np.array([0.4, 0.4, 0.4, 0.6, 0.4]))
    same = [bool((one == other).all()) for one, other in zip(given, pixels[rows], strict=True)]
    assert same == [False, True, True, True, False]  # the source of 24 pixels, and a draw above the share
    small = Image.fromarray(pixels[0]).resize((24, 24), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(given[0], small.resize((40, 40), Image.Resampling.BILINEAR))
    assert sharpness_of(0.0, (0, 24), (1, 1)) is sharpness_of(0.5, (0, 0), (1, 1)) is None


def test_batches_reduce_the_share_of_images_differently_in_each_epoch() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 16, 16, 3), np.uint8)
    classes = np.zeros(400, np.int64)
    targets, weights = np.ones((400, 1), np.float32), np.ones(400, np.float32)
    made = Examples(pixels, classes, targets, weights, sharpness=sharpness_of(0.25, (0, 8), (200, 200)))

    def changed(epoch: int) -> set[int]:
        batches = Batches(made, Train(batch=40), (1, 1, epoch))
        seen = {image.tobytes() for index in range(len(batches)) for image in batches[index][0]}
        return {number for number, image in enumerate(pixels) if image.tobytes() not in seen}

    first, same, other = changed(0), changed(0), changed(1)
    assert first == same != other
    assert 25 <= len(first) <= 75
    assert max(first) < 200
