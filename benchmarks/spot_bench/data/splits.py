"""Split a data set reproducibly by label without dividing a group, and draw balanced samples from it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from spot_bench.data.manifest import SPLITS, Item, Manifest
from spot_edge.errors import DataError

__all__ = ["FRACTIONS", "balanced_sample", "split"]


def balanced_sample(items: Sequence[Item], most: int, seed: int = 0) -> list[Item]:
    """Return at most `most` of `items`, taking one image of each class in turn, so that rare classes are kept.

    The same seed gives the same sample.
    """
    by_label: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_label[item.label].append(item)
    random = np.random.default_rng(seed)
    queues = [[by_label[label][i] for i in random.permutation(len(by_label[label]))] for label in sorted(by_label)]
    return [item for turn in zip_longest(*queues) for item in turn if item is not None][:most]


FRACTIONS: Mapping[str, float] = {"train": 0.65, "val": 0.10, "calibrate": 0.05, "test": 0.20}
_FIRST_SERVED = ("train", "val")  # a class with only two groups has one in each of these


def split(manifest: Manifest, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> Manifest:
    """Assign a split to every item of `manifest`, in the given fractions of each label's images.

    Earlier splits are discarded. The result depends only on the seed and the groups with their labels and sizes, not on
    the order of the items or the machine. A group with several labels counts under its most frequent label. Raise
    DataError if the fractions do not add up to 1.
    """
    _check(fractions)
    splits = [name for name in SPLITS if fractions.get(name, 0) > 0]
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for item in manifest.items:
        labels[item.group][item.label] += 1
    by_label: dict[str, list[str]] = defaultdict(list)
    for group, counts in labels.items():
        by_label[min(counts, key=lambda label: (-counts[label], label))].append(group)
    home: dict[str, str] = {}
    for label in sorted(by_label):
        order = sorted(by_label[label], key=lambda group: _shuffled(group, seed))
        sizes = {group: labels[group].total() for group in order}
        home |= _deal(order, sizes, {name: fractions[name] for name in splits})
    return replace(manifest, items=tuple(replace(item, split=home[item.group]) for item in manifest.items))


def _check(fractions: Mapping[str, float]) -> None:
    unknown = sorted(set(fractions) - set(SPLITS))
    if unknown:
        raise DataError(f"unknown split {unknown[0]!r}. The splits are {', '.join(SPLITS)}")
    if any(not 0 <= fraction <= 1 for fraction in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise DataError(f"fractions {dict(fractions)} must each be from 0 to 1 and add up to 1")


def _shuffled(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode(errors="surrogateescape")).digest()


def _deal(order: list[str], sizes: Mapping[str, int], fractions: Mapping[str, float]) -> dict[str, str]:
    """Give each group to the split that is furthest below its share, after one each for training and validation."""
    home: dict[str, str] = {}
    filled = dict.fromkeys(fractions, 0)
    served = [name for name in _FIRST_SERVED if name in fractions]
    total = sum(sizes.values())
    for position, group in enumerate(order):
        if position < len(served):
            chosen = served[position]
        else:
            chosen = max(fractions, key=lambda name: fractions[name] * total - filled[name])
        home[group] = chosen
        filled[chosen] += sizes[group]
    return home
