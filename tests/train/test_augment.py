"""Augmentation: no change with everything off, and bounded changes with it on."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from spot_bench.data.drawn import draw_lesion
from spot_edge.image.tensor import to_tensor
from spot_edge.model.spec import ImageSpec
from spot_train.data.augment import DRAWS, RandomAugmentation
from spot_train.recipes.recipe import Augment

OFF = Augment(False, 0.0, (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def stored(size: int, count: int = 1) -> np.ndarray:
    return np.concatenate([to_tensor(draw_lesion(seed), ImageSpec(size))[0] for seed in range(count)])


def changed(recipe: Augment, images: np.ndarray, size: int, seed: int = 1) -> np.ndarray:
    return np.asarray(RandomAugmentation(recipe, size, seed)(images))


def test_with_everything_off_an_image_of_the_same_size_is_unchanged() -> None:
    images = stored(64, 2)
    np.testing.assert_array_equal(changed(OFF, images, 64), images)


def test_with_everything_off_a_larger_image_is_only_resized() -> None:
    small = changed(OFF, stored(128), 96)
    assert small.shape == (1, 96, 96, 3)
    assert np.abs(small.astype(int) - stored(96)).mean() < 2


def test_the_defaults_change_each_image_differently() -> None:
    twice = np.repeat(stored(64), 2, axis=0)
    one, two = changed(Augment(), twice, 64)
    assert one.dtype == np.uint8
    assert np.abs(one.astype(int) - two).mean() > 2


def test_a_rotation_by_180_degrees_turns_the_image_upside_down() -> None:
    images = stored(64, 2)
    layer = RandomAugmentation(Augment(False, 180.0, (1.0, 1.0), 0, 0, 0, 0, 0, 0), 64)
    rotated = np.asarray(layer(images, np.ones((2, DRAWS), np.float32)))  # the largest angle, 180 degrees
    # ignore the border, which may be reflected or rounded
    gap = np.abs(rotated.astype(int) - images[:, ::-1, ::-1])[:, 2:-2, 2:-2]
    assert gap.mean() < 0.5


def test_a_rotation_by_90_degrees_keeps_a_circle_round() -> None:
    # A round disc in a 4:3 image is an upright ellipse in the stretched square, and must still be one when rotated.
    y, x = np.mgrid[0:64, 0:64]
    disc = (((x - 31.5) * 4 / 3) ** 2 + (y - 31.5) ** 2 < 16**2).astype(np.uint8)[None, :, :, None] * np.full(
        3, 255, np.uint8
    )
    layer = RandomAugmentation(Augment(False, 90.0, (1.0, 1.0), 0, 0, 0, 0, 0, 0), 64)
    rotated = np.asarray(layer(disc, np.ones((1, DRAWS), np.float32)))  # the largest angle, 90 degrees
    assert (np.abs(rotated.astype(int) - disc) > 128).mean() < 0.01


def test_compression_works_for_sides_that_are_not_multiples_of_8() -> None:
    images = stored(99, 2)
    compressed = changed(dataclasses.replace(OFF, jpeg=1.0), images, 99)
    assert compressed.shape == images.shape
    difference = np.abs(compressed.astype(int) - images)
    assert 0 < difference[:, -3:].mean() < 12
    assert 0 < difference[:, :-3].mean() < 12


def test_a_share_below_one_image_per_batch_changes_nothing() -> None:
    images = stored(64, 2)
    few = dataclasses.replace(OFF, hairs=0.1, corners=0.1, jpeg=0.1, blur=0.1)
    np.testing.assert_array_equal(changed(few, images, 64), images)


def test_the_same_in_a_graph_that_does_not_know_the_size_of_its_batch() -> None:
    few = dataclasses.replace(OFF, hairs=0.1, corners=0.1, jpeg=0.1, blur=0.1)
    inputs = keras.Input((64, 64, 3), dtype="uint8")
    network = keras.Model(inputs, RandomAugmentation(few, 64)(inputs))
    images = stored(64, 5)  # batches of 2, 2 and 1
    np.testing.assert_array_equal(network.predict(images, batch_size=2, verbose=0), images)


def test_light_changes_are_those_of_brightness_contrast_and_saturation_in_turn() -> None:
    """They are computed as one matrix per image."""
    images = np.asarray(stored(32, 3), np.float32)
    drawn: list[np.ndarray] = []

    class Recorded:
        def uniform(self, count: int, low: float, high: float, channels: int = 0) -> np.ndarray:
            drawn.append(np.random.default_rng(len(drawn)).uniform(low, high, (count, 1, 1, channels)))
            return np.asarray(drawn[-1], np.float32)

    recipe = dataclasses.replace(OFF, brightness=0.3, contrast=0.4, saturation=0.5, illuminant=0.2)
    found = np.asarray(RandomAugmentation(recipe, 32)._change_light(images, Recorded()))
    assert [values.shape[-1] for values in drawn] == [1, 3, 1, 1]
    brightness, illuminant, contrast, saturation = map(np.exp, drawn)
    expected = images * brightness * illuminant
    mean = expected.mean(axis=(1, 2, 3), keepdims=True)
    expected = mean + (expected - mean) * contrast
    grey = expected.mean(axis=3, keepdims=True)
    np.testing.assert_allclose(found, grey + (expected - grey) * saturation, atol=0.01)
