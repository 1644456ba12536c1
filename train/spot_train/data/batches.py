"""Choose the images of an epoch, their order and how they are mixed. Everything follows from the seed and the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_train.data.pixels import PixelStack
from spot_train.data.sharpness import Sharpness
from spot_train.data.views import Views, occurrences
from spot_train.recipes.recipe import Train

__all__ = [
    "Batches",
    "Examples",
    "Part",
    "batch_size",
    "class_counts",
    "class_weights",
    "epoch_length",
    "epoch_order",
    "with_sets",
]

_Batch = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]
_ViewBatch = tuple[tuple[NDArray[Any], ...], NDArray[np.float32], NDArray[np.float32]]


# separate these random numbers from those of mixup and cutmix, and of the epoch's order
_SHARPNESS_STREAM = 1
_SOURCE_STREAM = 2


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive rows of Examples that come from one extra source."""

    first: int
    last: int  # not included
    weight: float  # images per epoch, as a share of the rows
    pretrain_only: bool = False

    @property
    def shown(self) -> int:
        """The number of images per epoch."""
        return max(1, round(self.weight * (self.last - self.first)))


@dataclass(frozen=True, slots=True)
class Examples:
    """Training images at their stored size, their classes, and the targets to learn.

    An image whose label allows several classes has the number of its set after the classes: with 7 classes, 7 is the
    first of `sets`. Targets have a column for each class and then for each set.
    """

    pixels: NDArray[np.uint8] | PixelStack
    classes: NDArray[np.int64]
    targets: NDArray[np.float32]  # one row per image: one-hot, or softened by a teacher
    weights: NDArray[np.float32]  # one per image
    sets: tuple[tuple[int, ...], ...] = ()  # of classes
    parts: tuple[Part, ...] = ()  # the extra sources, in order, after the images of the data set itself
    sharpness: Sharpness | None = None  # reduces images to the resolution of the least sharp source
    sharpness_at_last: Sharpness | None = None  # the same once the sources that only pretrain have left
    views: Views | None = None  # teachers' predictions about augmented views; targets are then without teachers

    @property
    def number_of_classes(self) -> int:
        """The number of classes, without the sets."""
        return int(self.targets.shape[1]) - len(self.sets)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The batches of one epoch, starting with batch `first`. The incomplete batch at the end is dropped.

    The last number of `seed` is the epoch. `pretraining` says whether the sources that only pretrain take part.

    A batch is images, targets and weights. With teachers' views, the first is a tuple of images, the random numbers of
    their view for RandomAugmentation and, for mixup or cutmix, a plan for Blend: the augmented images are mixed, not
    the stored ones.
    """

    def __init__(
        self, examples: Examples, train: Train, seed: tuple[int, ...], first: int = 0, pretraining: bool = True
    ) -> None:
        super().__init__()
        self._examples, self._train, self._seed, self._first = examples, train, seed, first
        self._batch = batch_size(examples, train.batch)
        self._order = _order(examples, train.balance, seed, pretraining)
        self._occurrences = occurrences(self._order) if examples.views else self._order[:0]
        self._sharpness = examples.sharpness if pretraining else examples.sharpness_at_last

    def __len__(self) -> int:
        return len(self._order) // self._batch - self._first

    def __getitem__(self, index: int) -> _Batch | _ViewBatch:
        position = self._first + index
        if self._examples.views is not None:
            return self._of_views(self._examples.views, position)
        rows = np.sort(self._order[position * self._batch : (position + 1) * self._batch])
        images = self._examples.pixels[rows]
        if self._sharpness is not None:
            draws = np.random.default_rng((*self._seed, position, _SHARPNESS_STREAM)).random(len(rows))
            images = self._sharpness.apply(images, rows, draws)
        batch = images, self._examples.targets[rows], self._examples.weights[rows]
        if not (self._train.mixup or self._train.cutmix):
            return batch
        return _mixed(batch, self._train, np.random.default_rng((*self._seed, position)))

    def _of_views(self, views: Views, position: int) -> _ViewBatch:
        chosen = slice(position * self._batch, (position + 1) * self._batch)
        sort = np.argsort(self._order[chosen], kind="stable")
        rows, shown = self._order[chosen][sort], views.choose(self._seed[-1], self._occurrences[chosen][sort])
        images, draws = self._examples.pixels[rows], views.draws(rows, shown)
        if self._sharpness is not None:
            images = self._sharpness.apply(images, rows, draws[:, -1])
        targets = views.targets(self._examples.targets[rows], rows, shown)
        weights = self._examples.weights[rows]
        if not (self._train.mixup or self._train.cutmix):
            return (images, draws), targets, weights
        plan, kept = _blend_plan(len(rows), self._train, np.random.default_rng((*self._seed, position)))
        other = plan[:, 0].astype(int)
        targets = targets * kept[:, None] + targets[other] * (1 - kept[:, None])
        return (images, draws, plan), targets, weights * kept + weights[other] * (1 - kept)


def epoch_length(examples: Examples, pretraining: bool) -> int:
    """Return the number of images of an epoch."""
    parts = [part for part in examples.parts if pretraining or not part.pretrain_only]
    return _own(examples) + sum(part.shown for part in parts)


def batch_size(examples: Examples, wanted: int) -> int:
    """Return the number of images of a batch: at most those of the shortest epoch, so that each epoch has a batch."""
    return min(wanted, epoch_length(examples, pretraining=False))


def _own(examples: Examples) -> int:
    """Return the number of images of the data set itself, which come first."""
    return examples.parts[0].first if examples.parts else len(examples.classes)


def _order(examples: Examples, balance: float, seed: tuple[int, ...], pretraining: bool) -> NDArray[np.int64]:
    """Return the rows of one epoch in random order: those of the data set, then each source by its weight."""
    random = np.random.default_rng(seed)
    own = epoch_order(examples.classes[: _own(examples)], balance, random)
    if not examples.parts:
        return own
    rows = [own]
    for number, part in enumerate(examples.parts, 1):
        if part.pretrain_only and not pretraining:
            continue
        drawn = np.random.default_rng((*seed, number, _SOURCE_STREAM))
        classes = examples.classes[part.first : part.last]
        rounds = -(-part.shown // len(classes))
        order = np.concatenate([epoch_order(classes, balance, drawn) for _ in range(rounds)])
        rows.append(part.first + order[: part.shown])
    return random.permutation(np.concatenate(rows))


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


def class_counts(
    classes: NDArray[np.int64], number: int, sets: Sequence[Sequence[int]] = (), parts: Sequence[Part] = ()
) -> NDArray[np.float64]:
    """Return how many images of each class an epoch shows, without `balance` and the sources that only pretrain.

    The images of a set are divided among its classes in proportion to the images of these classes alone.
    """
    shown = np.ones(len(classes))
    for part in parts:
        size = part.last - part.first
        shown[part.first : part.last] = 0 if part.pretrain_only else part.shown / size
    counts = np.bincount(classes, shown, minlength=number + len(sets)).astype(np.float64)
    result = counts[:number].copy()
    for row, members in enumerate(sets):
        result[list(members)] += counts[number + row] * _shares(counts, members)
    return result


def _shares(counts: NDArray[np.float64], members: Sequence[int]) -> NDArray[np.float64]:
    alone = counts[list(members)]
    return alone / alone.sum() if alone.sum() else np.full(len(members), 1 / len(members))


def class_weights(counts: NDArray[np.float64], power: float) -> NDArray[np.float32]:
    """Return (1 / class frequency) ** power for each class, scaled so that the mean weight of an image is 1."""
    weights = np.where(counts > 0, (counts.sum() / np.maximum(counts, 1)) ** power, 0.0)
    return np.asarray(weights * counts.sum() / (weights * counts).sum(), np.float32)


def with_sets(
    weights: NDArray[np.float32], counts: NDArray[np.float64], sets: Sequence[Sequence[int]]
) -> NDArray[np.float32]:
    """Return the weights of the classes, then those of the sets: the mean over a set's images, by frequency."""
    of_sets = [weights[list(members)] @ _shares(counts, members) for members in sets]
    return np.asarray([*weights, *of_sets], np.float32)


def _blend_plan(
    number: int, train: Train, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a plan for Blend, and the share of each image in its blend."""
    other = random.permutation(number)
    boxes = bool(train.cutmix) and (not train.mixup or random.random() < 0.5)
    alpha = train.cutmix if boxes else train.mixup
    kept = random.beta(alpha, alpha, number).astype(np.float32)
    if not boxes:
        return np.stack([other, kept, *np.zeros((4, number))], axis=1).astype(np.float32), kept
    half = np.sqrt(1 - kept) / 2
    x, y = random.uniform(0, 1, (2, number))
    left, right, top, bottom = (np.clip(edge, 0, 1) for edge in (x - half, x + half, y - half, y + half))
    plan = np.stack([other, np.ones(number), left, right, top, bottom], axis=1).astype(np.float32)
    return plan, np.asarray(1 - (right - left) * (bottom - top), np.float32)


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
