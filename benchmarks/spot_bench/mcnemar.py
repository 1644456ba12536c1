"""Did one model get more right than another, or is it chance? The exact McNemar test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.metrics import Bools

__all__ = ["compare_answers", "exact_mcnemar"]


def exact_mcnemar(lost: int, gained: int) -> float:
    """The two-sided p-value of `lost` against `gained` under a fair coin: exact, by the binomial distribution."""
    total = lost + gained
    ways = reached = 1  # of choosing no, one, two … of all
    for chosen in range(min(lost, gained)):
        ways = ways * (total - chosen) // (chosen + 1)
        reached += ways
    return min(2 * reached / (1 << total), 1.0)


def compare_answers(before: Bools, after: Bools, groups: NDArray[Any]) -> dict[str, Any]:
    """What was right `before` and is not `after` (lost), and the other way round (gained), with p-values.

    The test by images takes them for independent, which images of one lesion are not: the one by lesions counts each
    lesion once, as lost where more of its images were lost than gained. `groups` says whose each image is.
    """
    lost, gained = before & ~after, after & ~before
    _, place = np.unique(groups, return_inverse=True)
    net = np.bincount(place, weights=gained) - np.bincount(place, weights=lost) if len(groups) else np.zeros(0)
    return {
        "images": _tested(int(lost.sum()), int(gained.sum())),
        "lesions": _tested(int((net < 0).sum()), int((net > 0).sum())),
    }


def _tested(lost: int, gained: int) -> dict[str, Any]:
    return {"lost": lost, "gained": gained, "p": exact_mcnemar(lost, gained)}
