"""A sample of a data set in which rare classes are not lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from spot_bench.manifest import Item

__all__ = ["in_turns"]


def in_turns(items: Sequence[Item], most: int, seed: int = 0) -> list[Item]:
    """At most so many of `items`, the classes taking turns, each in a random order; the same ones for the same seed."""
    by_label: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_label[item.label].append(item)
    random = np.random.default_rng(seed)
    queues = [[by_label[label][i] for i in random.permutation(len(by_label[label]))] for label in sorted(by_label)]
    return [item for turn in zip_longest(*queues) for item in turn if item is not None][:most]
