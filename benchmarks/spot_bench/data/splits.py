"""A sample of a data set in which rare classes are not lost.

Splits a data set into parts: the same every time, by label, and never through a group."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np

from spot_bench.data.manifest import PARTS, Item, Manifest
from spot_edge.errors import DataError

__all__ = ["FRACTIONS", "in_turns", "split"]


def in_turns(items: Sequence[Item], most: int, seed: int = 0) -> list[Item]:
    """At most so many of `items`, the classes taking turns, each in a random order; the same ones for the same seed."""
    by_label: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_label[item.label].append(item)
    random = np.random.default_rng(seed)
    queues = [[by_label[label][i] for i in random.permutation(len(by_label[label]))] for label in sorted(by_label)]
    return [item for turn in zip_longest(*queues) for item in turn if item is not None][:most]


FRACTIONS: Mapping[str, float] = {"train": 0.65, "val": 0.10, "calibrate": 0.05, "test": 0.20}
_FIRST_SERVED = ("train", "val")  # a class that has two groups has one in each of these


def split(manifest: Manifest, fractions: Mapping[str, float] = FRACTIONS, seed: int = 0) -> Manifest:
    """`manifest` with every item in a part, in the given fractions of each label's images; old splits are forgotten.

    The answer depends on the groups, their labels and sizes, and the seed alone: not on the order of the items, nor
    on the machine. A group with several labels counts as the one it has most of. Raises DataError for fractions that
    are not parts of one.
    """
    _check(fractions)
    parts = [part for part in PARTS if fractions.get(part, 0) > 0]
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
        home |= _deal(order, sizes, {part: fractions[part] for part in parts})
    return replace(manifest, items=tuple(replace(item, split=home[item.group]) for item in manifest.items))


def _check(fractions: Mapping[str, float]) -> None:
    unknown = sorted(set(fractions) - set(PARTS))
    if unknown:
        raise DataError(f"unknown part {unknown[0]!r} in the fractions: known are {', '.join(PARTS)}")
    if any(not 0 <= fraction <= 1 for fraction in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        raise DataError(f"fractions {dict(fractions)} are not parts of one: they must be from 0 to 1 and add up to 1")


def _shuffled(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode(errors="surrogateescape")).digest()


def _deal(order: list[str], sizes: Mapping[str, int], fractions: Mapping[str, float]) -> dict[str, str]:
    """Each group in turn to the part that lacks most of its share, after one each for training and validation."""
    home: dict[str, str] = {}
    filled = dict.fromkeys(fractions, 0)
    served = [part for part in _FIRST_SERVED if part in fractions]
    total = sum(sizes.values())
    for position, group in enumerate(order):
        if position < len(served):
            part = served[position]
        else:
            part = max(fractions, key=lambda name: fractions[name] * total - filled[name])
        home[group] = part
        filled[part] += sizes[group]
    return home
