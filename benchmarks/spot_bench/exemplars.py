"""Which images compressed files answer differently, whether they are the same ones, and how many chance would share.

Images that at least half of the compressed files flip are called exemplars, after "compression identified exemplars"
(Hooker et al. 2019). Most flips are near-ties, and near-ties are the same images for every file: so chance is asked
twice, over all images alike, and over images that are about as near a tie.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.intervals import DRAWS, bootstrap_many
from spot_bench.metrics import Bools

__all__ = ["EDGES", "exemplars", "overlap", "strata"]

EDGES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)  # of the float32 file's margin, between which images are alike


def strata(margin: NDArray[np.float64]) -> NDArray[np.int64]:
    """The stratum of each image: between which of EDGES its margin lies."""
    return np.searchsorted(EDGES, margin, "right")


def exemplars(flips: Bools) -> Bools:
    """The images (rows) that at least half of the files (columns) flip; none are where there is but one file."""
    files = flips.shape[1]
    return np.asarray(2 * flips.sum(axis=1) >= files) if files > 1 else np.zeros(len(flips), bool)


def overlap(flips: Bools, margin: NDArray[np.float64], groups: NDArray[Any], *, draws: int = DRAWS) -> dict[str, Any]:
    """How many exemplars there are and how alike any two files' flips are, beside what chance would give.

    Likeness is Jaccard's: the images that both flip among those that either flips, with its interval over lesions. By
    chance, each file flips as many images as it does: any, or as many as it does within each stratum of `margin`.
    """
    pairs = list(combinations(range(flips.shape[1]), 2))
    if not pairs:
        return {"exemplars": None, "pairs": []}

    def shared(rows: Bools) -> NDArray[np.float64]:
        return np.array([_jaccard(rows[:, a], rows[:, b]) for a, b in pairs])

    found = bootstrap_many(shared, groups, flips, draws=draws)
    chances = {
        "any_images": _by_chance(flips, np.zeros(len(flips), np.int64), pairs, draws),
        "as_near_a_tie": _by_chance(flips, strata(margin), pairs, draws),
    }
    counted = {name: _middle(counts) for name, (counts, _) in chances.items()}
    return {
        "exemplars": {"count": int(exemplars(flips).sum()), "by_chance": counted},
        "pairs": [
            {
                "files": [a, b],
                "both": int((flips[:, a] & flips[:, b]).sum()),
                "either": int((flips[:, a] | flips[:, b]).sum()),
                "jaccard": (
                    replace(one, low=float("nan"), high=float("nan")) if one.value in (0, 1) else one
                ).as_dict(),
                "by_chance": {name: _middle(likeness[:, number]) for name, (_, likeness) in chances.items()},
            }
            for number, ((a, b), one) in enumerate(zip(pairs, found, strict=True))
        ],
    }


def _jaccard(a: Bools, b: Bools) -> float:
    either = int((a | b).sum())
    return int((a & b).sum()) / either if either else float("nan")


def _by_chance(
    flips: Bools, stratum: NDArray[np.int64], pairs: list[tuple[int, int]], draws: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The number of exemplars, and the likeness of each pair, where flips fall on any images of their stratum."""
    generator = np.random.default_rng(0)
    places = [np.flatnonzero(stratum == number) for number in np.unique(stratum)]
    counts, likeness = np.zeros(draws), np.zeros((draws, len(pairs)))
    for draw in range(draws):
        moved = np.zeros_like(flips)
        for rows in places:
            moved[rows] = generator.permuted(flips[rows], axis=0)  # each file by itself
        counts[draw] = exemplars(moved).sum()
        likeness[draw] = [_jaccard(moved[:, a], moved[:, b]) for a, b in pairs]
    return counts, likeness


def _middle(values: NDArray[np.float64]) -> dict[str, float | None]:
    """The mean, and between which values the middle 95 % lie."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return {"mean": None, "low": None, "high": None}
    low, high = np.percentile(defined, [2.5, 97.5])
    return {"mean": float(defined.mean()), "low": float(low), "high": float(high)}
