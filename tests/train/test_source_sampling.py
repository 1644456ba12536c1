"""What an epoch shows of the data and of each source, and how much each class then weighs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from spot_train.data.batches import Batches, Examples, Part, class_counts, class_weights, epoch_length, with_sets
from spot_train.data.pixels import PixelStack
from spot_train.loop.fit import Phase, training_body
from spot_train.recipes.recipe import Network, Recipe, Train


def examples(**changes: Any) -> Examples:
    """Ten images of three classes, a source of eight with a set, and one of four that only pretrains."""
    classes = np.array([0] * 6 + [1] * 3 + [2] + [3] * 6 + [0] * 2 + [1] * 4)
    parts = (Part(10, 18, 0.5), Part(18, 22, 2.0, pretrain_only=True))
    pixels = np.zeros((22, 4, 4, 3), np.uint8) + np.arange(22, dtype=np.uint8)[:, None, None, None]
    made = Examples(pixels, classes, np.eye(4, dtype=np.float32)[classes], np.ones(22, np.float32), ((1, 2),), parts)
    return dataclasses.replace(made, **changes)


def rows(batches: Batches) -> list[int]:
    return [int(value) for index in range(len(batches)) for value in batches[index][0][:, 0, 0, 0]]


@pytest.mark.parametrize(("pretraining", "counts"), [(True, (10, 4, 8)), (False, (10, 4, 0))])
def test_an_epoch_shows_each_source_by_its_weight(pretraining: bool, counts: tuple[int, ...]) -> None:
    assert epoch_length(examples(), pretraining) == sum(counts)
    shown = rows(Batches(examples(), Train(batch=1), (1, 1, 0), 0, pretraining))
    assert tuple(np.histogram(shown, [0, 10, 18, 22])[0]) == counts
    assert sorted(r for r in shown if r < 10) == list(range(10))
    assert sorted(r for r in shown if r >= 18) == [18, 18, 19, 19, 20, 20, 21, 21] * pretraining


def test_balance_acts_within_the_data_and_within_each_source() -> None:
    shown = np.array(rows(Batches(examples(), Train(batch=1, balance=1.0), (1, 1, 0))))
    classes = examples().classes[shown]
    assert np.bincount(classes[shown < 10]).tolist() == [4, 3, 3]
    assert np.bincount(classes[(shown >= 10) & (shown < 18)], minlength=4)[[1, 2]].tolist() == [0, 0]


def test_epochs_of_a_source_differ_and_repeat_for_the_same_seed() -> None:
    one, same, other = (rows(Batches(examples(), Train(batch=1), (1, 1, epoch))) for epoch in (0, 0, 1))
    assert one == same
    assert one != other


def test_a_source_and_mixup_draw_different_random_numbers() -> None:
    """Mixup draws its partners for batch n of an epoch from the stream (*seed, n)."""
    same = 0
    for epoch in range(20):
        shown = {row - 10 for row in rows(Batches(examples(), Train(batch=1), (1, 1, epoch))) if 10 <= row < 18}
        same += shown == set(np.random.default_rng((1, 1, epoch, 1)).permutation(8)[:4].tolist())
    assert same < 5  # one in 70 by chance


def test_counts_divide_a_set_among_its_classes() -> None:
    made = examples()
    counts = class_counts(made.classes, 3, made.sets, made.parts)
    # six images of the set at weight one half: three, divided three to one
    np.testing.assert_allclose(counts, [6 + 1, 3 + 2.25, 1 + 0.75])
    weights = with_sets(class_weights(counts, 1.0), counts, made.sets)
    assert weights[:3] @ counts == pytest.approx(counts.sum())
    assert weights[1] < weights[3] < weights[2]


def test_an_epoch_shorter_than_a_batch_is_one_batch() -> None:
    """The epochs after pretraining have 14 of the 22 images."""
    phase = Phase("all", 1, 2, 1e-3, (32,), pretrain_epochs=1)
    for epoch in range(2):
        batches = Batches(examples(), Train(batch=20), (1, 1, epoch), 0, phase.pretraining(epoch))
        assert len(batches) == phase.steps(epoch, examples(), 20) == 1
        assert len(batches[0][1]) == 14


def test_a_stack_of_arrays_reads_like_one_array() -> None:
    parts = [np.arange(n * 12, dtype=np.uint8).reshape(n, 2, 2, 3) for n in (3, 1, 4)]
    stack, whole = PixelStack(parts), np.concatenate(parts)
    assert stack.shape == whole.shape
    for index in (np.array([7, 0, 3, 3]), slice(2, 6), slice(None)):
        np.testing.assert_array_equal(stack[index], whole[index])


def test_a_body_has_one_output_per_class_but_none_per_set() -> None:
    recipe = Recipe("tiny", network=Network(backbone="mobilenet", width=0.25, size=32))
    assert training_body(recipe, examples().number_of_classes).output["evidence"].shape[-1] == 3
