"""Choose the images of an epoch, their order and how they are mixed. Everything follows from the seed and the epoch."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from spot_train.recipes.recipe import Train

__all__ = ["Batches", "Examples", "class_weights", "epoch_order"]

_Batch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Examples:
    """Training images at their stored size, their classes, and the targets to learn."""

    pixels: NDArray[np.uint8]
    classes: NDArray[np.int64]
    targets: NDArray[np.float32]  # one row per image: one-hot, or softened by a teacher
    weights: NDArray[np.float32]  # one per image


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of one epoch, starting with batch `first`. The incomplete batch at the end is dropped."""

    def __init__(self, examples: Examples, train: Train, seed: tuple[int, ...], first: int = 0) -> None:
        super().__init__()
        self._examples, self._train, self._seed, self._first = examples, train, seed, first
        self._batch = min(train.batch, len(examples.classes))
        self._order = epoch_order(examples.classes, train.balance, np.random.default_rng(seed))

    def __len__(self) -> int:
        return len(self._order) // self._batch - self._first

    def __getitem__(self, index: int) -> _Batch:
        position = self._first + index
        rows = np.sort(self._order[position * self._batch : (position + 1) * self._batch])
        batch = self._examples.pixels[rows], self._examples.targets[rows], self._examples.weights[rows]
        if not (self._train.mixup or self._train.cutmix):
            return batch
        return _mixed(batch, self._train, np.random.default_rng((*self._seed, position)))


def epoch_order(classes: NDArray[np.int64], balance: float, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows of one epoch, in random order: as many as there are images.

    With `balance` 0 every image is shown once, with 1 every class is shown equally often. In between, a class's share
    is proportional to (its number of images) ** (1 - balance). An image is repeated only after all images of its class
    were shown.
    """
    if not balance:
        return random.permutation(len(classes))
    counts = np.bincount(classes).astype(float)
    shares = np.where(counts > 0, np.maximum(counts, 1) ** (1 - balance), 0)
    wanted = np.floor(shares / shares.sum() * len(classes)).astype(int)
    wanted[np.argmax(counts)] += len(classes) - wanted.sum()
    rows = []
    for label, number in enumerate(wanted):
        members = np.flatnonzero(classes == label)
        if len(members):
            rounds = -(-number // len(members))
            rows.append(np.concatenate([random.permutation(members) for _ in range(rounds)] or [members[:0]])[:number])
    return random.permutation(np.concatenate(rows))


def class_weights(classes: NDArray[np.int64], number: int, power: float) -> NDArray[np.float32]:
    """Return (1 / class frequency) ** power for each class, scaled so that the mean weight of an image is 1."""
    counts = np.bincount(classes, minlength=number).astype(np.float64)
    weights = np.where(counts > 0, (len(classes) / np.maximum(counts, 1)) ** power, 0.0)
    return np.asarray(weights * len(classes) / (weights * counts).sum(), np.float32)


def _mixed(batch: _Batch, train: Train, random: np.random.Generator) -> _Batch:
    """Blend each image with another of its batch (mixup) or paste a box of that one (cutmix); mix targets likewise."""
    pixels, targets, weights = batch
    number, side = len(pixels), pixels.shape[1]
    other = random.permutation(number)
    boxes = bool(train.cutmix) and (not train.mixup or random.random() < 0.5)
    alpha = train.cutmix if boxes else train.mixup
    kept = random.beta(alpha, alpha, number).astype(np.float32)
    if boxes:
        result = pixels.copy()
        for row in range(number):
            half = side * np.sqrt(1 - kept[row]) / 2
            x, y = random.uniform(0, side, 2)
            left, right, top, bottom = (
                round(float(np.clip(v, 0, side))) for v in (x - half, x + half, y - half, y + half)
            )
            result[row, top:bottom, left:right] = pixels[other[row], top:bottom, left:right]
            kept[row] = 1 - (right - left) * (bottom - top) / side**2
    else:
        share = kept[:, None, None, None]
        result = np.rint(pixels * share + pixels[other] * (1 - share)).astype(np.uint8)
    share = kept[:, None]
    return result, targets * share + targets[other] * (1 - share), weights * kept + weights[other] * (1 - kept)
