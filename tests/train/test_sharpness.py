"""Reducing sharper images to the side of the least sharp source: which images, and how often."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spot_train.data.batches import Batches, Examples
from spot_train.data.sharpness import reduced, sharpness_of
from spot_train.loop.progress import StopRequest
from spot_train.loop.session import _examples, read_task
from spot_train.recipes.recipe import Train, load_recipe


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
    step = sharpness_of(0.25, (0, 8), (200, 200))
    made = Examples(pixels, classes, targets, weights, sharpness=step)

    def changed(epoch: int) -> set[int]:
        batches = Batches(made, Train(batch=40), (1, 1, epoch))
        seen = {image.tobytes() for index in range(len(batches)) for image in batches[index][0]}
        return {number for number, image in enumerate(pixels) if image.tobytes() not in seen}

    first, same, other = changed(0), changed(0), changed(1)
    assert first == same != other
    assert 25 <= len(first) <= 75
    assert max(first) < 200


@pytest.mark.parametrize("views", [0, 2])
def test_pretraining_sources_set_the_side_only_while_they_are_used(
    mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int
) -> None:
    """But the cached predictions of teachers are about images reduced to one side."""
    text = (mixed / "mixed.toml").read_text().replace('licence = "CC0"', 'licence = "CC0"\nnative = 16')
    (tmp_path / "mixed.toml").write_text(text)
    changes = [f"train.teacher_views={views}", "train.teachers=['unused']"] if views else []
    recipe = load_recipe(str(tmp_path / "mixed.toml"), changes)
    named = {"partial": mixed / "partial.csv", "first": mixed / "first"}
    task = read_task(recipe, mixed / "data.csv", lambda line: None, named)
    asked = []
    monkeypatch.setattr("spot_train.loop.session.teacher_views", lambda *given: asked.append(given[2]))
    made = _examples(recipe, task, task.manifest.split("train"), tmp_path, lambda line: None, StopRequest())
    own = len(task.manifest.split("train").items)
    assert made.sharpness is not None
    assert made.sharpness_at_last is not None
    assert made.sharpness.side == 16
    assert made.sharpness_at_last.side == (16 if views else 24)
    assert made.sharpness_at_last.sharper[: own + 18].tolist() == [True] * own + [bool(views)] * 18
    assert asked == ([made.sharpness] if views else [])
    if views:
        return
    pixels = np.asarray(made.pixels[:own])
    for pretraining, side in ((True, 16), (False, 24)):
        batches = Batches(made, dataclasses.replace(recipe.train, mixup=0.0), (1, 1, 0), pretraining=pretraining)
        seen = {image.tobytes() for index in range(len(batches)) for image in batches[index][0]}
        number = sum(reduced(image, side).tobytes() in seen for image in pixels)
        other = sum(reduced(image, 40 - side).tobytes() in seen for image in pixels)
        assert number > own / 2
        assert other == 0
