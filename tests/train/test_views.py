"""Teachers' views: reproducible augmentation, blending in the graph, and targets of sets."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from spot_bench.data.drawn import draw_lesion
from spot_edge.errors import DataError
from spot_edge.image.tensor import to_tensor
from spot_edge.model.spec import ImageSpec
from spot_train.data.augment import DRAWS, Blend, RandomAugmentation
from spot_train.data.batches import Batches, Examples
from spot_train.data.views import Views, mix_targets, occurrences, permitted_predictions, view_draws
from spot_train.loop.teachers import permitted_classes
from spot_train.recipes.recipe import Augment, Train, load_recipe, recipe_hash

EVERYTHING = Augment(hairs=0.5, corners=0.5, jpeg=0.5, blur=0.5, sharpness=0.5)
SMOOTH = Augment()  # geometry, light and colour: what looks the same at every size of crops


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    return np.concatenate([to_tensor(draw_lesion(seed), ImageSpec(64))[0] for seed in range(8)])


def seen(augment: Augment, images: np.ndarray, draws: np.ndarray, size: int) -> np.ndarray:
    """The images that a compiled model sees."""
    inputs = [keras.Input(images.shape[1:], dtype="uint8"), keras.Input((DRAWS,))]
    model = keras.Model(inputs, RandomAugmentation(augment, size)(*inputs))
    return np.asarray(model.predict_on_batch([images, draws]))


def test_a_view_is_the_same_in_every_batch(stored: np.ndarray) -> None:
    draws = view_draws(1, 3, 8)
    together = seen(EVERYTHING, stored, draws, 48)
    order = np.array([5, 0, 7, 2])
    few = seen(EVERYTHING, stored[order], draws[order], 48)
    assert np.abs(few.astype(int) - together[order]).max() <= 1  # sums of another order round differently
    other = seen(EVERYTHING, stored, view_draws(1, 4, 8), 48)
    assert all(np.abs(other[i].astype(int) - together[i]).mean() > 1 for i in range(8))


def test_a_view_shows_the_same_scene_at_every_size(stored: np.ndarray) -> None:
    draws = view_draws(1, 0, 8)
    small, large = (seen(SMOOTH, stored, draws, size).astype(float) for size in (32, 64))
    halved = large.reshape(8, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.abs(halved - small).mean() < 3
    assert np.abs(halved - np.roll(small, 1, axis=0)).mean() > 10


def test_each_change_happens_to_its_share_of_the_images(stored: np.ndarray) -> None:
    off = Augment(False, 0.0, (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    images, draws = np.repeat(stored[:1], 400, axis=0), view_draws(1, 0, 400)
    for key in ("hairs", "corners", "jpeg", "blur"):
        changed = (seen(dataclasses.replace(off, **{key: 0.3}), images, draws, 64) != images).any(axis=(1, 2, 3))
        assert 0.22 < changed.mean() < 0.38, key


def test_a_batch_in_which_no_image_is_changed_passes(stored: np.ndarray) -> None:
    off = Augment(False, 0.0, (1.0, 1.0), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, sharpness=0.5)
    draws = np.full((8, DRAWS), 0.9, np.float32)
    np.testing.assert_array_equal(seen(off, stored, draws, 64), stored)
    draws[3] = 0.1
    changed = (seen(off, stored, draws, 64) != stored).any(axis=(1, 2, 3))
    assert changed.tolist() == [False, False, False, True, False, False, False, False]


def test_blending_mixes_images_and_boxes(stored: np.ndarray) -> None:
    plan = np.array([[1, 0.25, 0, 0, 0, 0], [0, 1, 0.5, 1, 0, 0.5], [2, 0.5, 0, 0, 0, 0]], np.float32)
    found = np.asarray(Blend()(stored[:3], plan)).astype(float)
    np.testing.assert_allclose(found[0], stored[0] * 0.25 + stored[1] * 0.75, atol=0.51)
    box = stored[1].copy()
    box[:32, 32:] = stored[0][:32, 32:]
    np.testing.assert_array_equal(found[1], box)
    np.testing.assert_array_equal(found[2], stored[2])


def test_occurrences_count_earlier_equal_values() -> None:
    assert occurrences(np.array([4, 2, 4, 4, 0, 2])).tolist() == [0, 0, 1, 2, 0, 1]


def views(number: int = 3, images: int = 8) -> Views:
    predictions = np.random.default_rng(2).dirichlet(np.ones(3), (number, images))
    return Views(1, 0.4, predictions.astype(np.float16))


def examples(pixels: np.ndarray) -> Examples:
    classes = np.array([0, 0, 0, 0, 0, 0, 1, 2])
    return Examples(pixels, classes, np.eye(3, dtype=np.float32)[classes], np.ones(8, np.float32), views=views())


def test_an_epoch_shows_its_view_and_repeats_of_an_image_the_next_ones(stored: np.ndarray) -> None:
    given = examples(stored)
    for epoch in range(4):
        batches = Batches(given, Train(batch=8, balance=1.0), (1, 1, epoch))
        (images, draws), targets, _ = batches[0]
        shown: dict[int, int] = {}
        for image, drawn, target in zip(images, draws, targets, strict=True):
            row = next(i for i in range(8) if (stored[i] == image).all())
            view = (epoch + shown.get(row, 0)) % 3
            shown[row] = shown.get(row, 0) + 1
            np.testing.assert_array_equal(drawn, view_draws(1, view, 8)[row])
            expected = 0.6 * given.targets[row] + 0.4 * views().predictions[view, row].astype(np.float32)
            np.testing.assert_allclose(target, expected, atol=1e-3)
        assert max(shown.values()) > 1


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_mixing_blends_both_targets_by_the_visible_share(stored: np.ndarray, mixing: str) -> None:
    given = examples(stored)
    seed = (1, 1, 0)
    (_, _), plain, _ = Batches(given, Train(batch=8), seed)[0]
    train = dataclasses.replace(Train(batch=8), **{mixing: 1.0})
    (images, _, plan), targets, weights = Batches(given, train, seed)[0]
    black_and_white = np.zeros((8, 100, 100, 3), np.uint8)
    for row, other in enumerate(plan[:, 0].astype(int)):
        pair = black_and_white.copy()
        pair[other], pair[row] = 0, 200
        visible = np.asarray(Blend()(pair, plan))[row].mean() / 200 if other != row else 1
        np.testing.assert_allclose(targets[row], plain[row] * visible + plain[other] * (1 - visible), atol=0.03)
    assert images.shape == stored.shape
    np.testing.assert_allclose(weights, 1)
    assert len({tuple(row) for row in plan[:, 1:]}) > 4


def test_a_set_restricts_the_teacher_and_a_class_does_not() -> None:
    permitted = permitted_classes(np.array([0, 3, 4]), ((1, 2), (0, 2)), 3)
    assert permitted is not None
    assert permitted.tolist() == [[True, True, True], [False, True, True], [True, False, True]]
    predictions = np.array([[[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0, 1, 0]]], np.float16)
    found = permitted_predictions(predictions, permitted)
    np.testing.assert_allclose(found[0], [[0.5, 0.3, 0.2], [0, 0.6, 0.4], [0.5, 0, 0.5]], atol=1e-3)
    targets = mix_targets(np.eye(5, dtype=np.float32)[[0, 3, 4]], found[0], 0.5)
    np.testing.assert_allclose(targets[1], [0, 0.3, 0.2, 0.5, 0], atol=1e-3)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-3)
    assert permitted_classes(np.array([0, 2]), (), 3) is None


def test_recipes_without_views_keep_their_hash_and_views_need_teachers() -> None:
    one, two = (load_recipe("spot", [f"train.teachers={list(names)}"]) for names in ((), ("runs/t",)))
    assert recipe_hash(one) != recipe_hash(two) != recipe_hash(load_recipe("spot", ["train.teachers=['runs/t']",
        "train.teacher_views=4"]))  # fmt: skip
    with pytest.raises(DataError, match=r"train\.teacher_views needs train\.teachers"):
        load_recipe("spot", ["train.teacher_views=4"])


def test_views_that_no_loss_would_use_are_refused() -> None:
    with pytest.raises(DataError, match=r"train\.teacher_views needs train\.teacher_share above 0"):
        load_recipe("spot", ["train.teachers=['t']", "train.teacher_views=4", "train.teacher_share=0"])
