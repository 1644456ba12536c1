"""Which images compressed files answer differently, whether they are the same ones, and how many chance would share.

Images that at least half of the compressed files flip are called exemplars, after "compression identified exemplars"
(Hooker et al. 2019). Most flips are near-ties, and near-ties are the same images for every file: so chance is asked
twice, over all images alike, and over images that are about as near a tie.


Whether what compressed files change falls on some class, age, sex or site more often than on the rest."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.drift.subgroups import FEWEST_LESIONS
from spot_bench.stats.intervals import DRAWS, Estimate, bootstrap_many, proportion
from spot_bench.stats.metrics import Bools

__all__ = ["EDGES", "concentration", "exemplars", "holm", "overlap", "ratios_to_rest", "strata"]

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


_SHUFFLES = 20  # times the resamples: what Holm multiplies must be known well where it is small

_Column = NDArray[np.float64]


def concentration(
    flips: _Column,
    columns: dict[str, tuple[list[str], NDArray[np.str_]]],
    stratum: NDArray[np.int64],
    lesions: NDArray[Any],
    *,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """For every subgroup of `columns` (name: its subgroups in order, that of each image): how often it is flipped.

    `flips` is 1 where an image was flipped, or the share of several files that flip it. A subgroup's ratio to the rest
    comes twice: as it is, and with the `stratum` of the images held fixed (Mantel-Haenszel). Intervals are over
    lesions. p is that of shuffling lesions between the subgroups (`p_same_margin`: such as are alike), and `p_holm`
    allows for how many were looked at: all with FEWEST_LESIONS or more. Smaller ones get counts alone.
    """
    named = [
        (name, subgroup, inside)
        for name, (subgroups, values) in columns.items()
        for subgroup in subgroups
        if (inside := values == subgroup).any() and not inside.all()
    ]
    rows = [
        {"column": name, "subgroup": subgroup} | _counted(flips, inside, lesions) for name, subgroup, inside in named
    ]
    looked_at = [number for number, row in enumerate(rows) if row["enough"]]
    if looked_at:
        inside = np.stack([named[number][2] for number in looked_at], axis=1)
        found = [
            _rates(flips, inside, lesions, draws),
            _ratios(flips, inside, stratum, lesions, draws),
            _p_values("p", flips - flips.mean(), inside, np.zeros_like(stratum), lesions, _SHUFFLES * draws),
            _p_values("p_same_margin", flips - _expected(flips, stratum), inside, stratum, lesions, _SHUFFLES * draws),
        ]
        for number, *records in zip(looked_at, *found, strict=True):
            for record in records:
                rows[number] |= record
    for row in rows:
        del row["enough"]
    return {"looked_at": len(looked_at), "expected_below_.05": 0.05 * len(looked_at), "subgroups": rows}


def ratios_to_rest(flips: _Column, inside: NDArray[np.bool_], alike: NDArray[np.bool_]) -> _Column:
    """For each column of `inside`: how many times as often those images are flipped as the rest (Mantel-Haenszel).

    Compared are images within one column of `alike`; NaN where none of the rest is flipped.
    """
    strata, members = alike.T.astype(float), inside.astype(float)
    count, total = strata @ members, alike.sum(axis=0)[:, None]
    hits, all_hits = strata @ (members * flips[:, None]), (strata @ flips)[:, None]
    both = np.maximum(total, 1)
    above = (hits * (total - count) / both).sum(axis=0)
    below = ((all_hits - hits) * count / both).sum(axis=0)
    return np.where(below > 1e-9, above / np.maximum(below, 1e-9), np.nan)


def holm(p: list[float]) -> list[float]:
    """p-values that allow for their number, by Holm's step-down method."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.zeros(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in corrected]


def _counted(flips: _Column, inside: NDArray[np.bool_], lesions: NDArray[Any]) -> dict[str, Any]:
    """Counts of one subgroup, whether there are enough lesions in and out of it, and figures that are not known yet."""
    own, others = len(np.unique(lesions[inside])), len(np.unique(lesions[~inside]))
    record = {"images": int(inside.sum()), "lesions": own, "flips": float(flips[inside].sum())}
    return record | {
        "enough": min(own, others) >= FEWEST_LESIONS,
        "rate": None,
        "ratio": None,
        "ratio_same_margin": None,
    }


def _rates(flips: _Column, inside: NDArray[np.bool_], lesions: NDArray[Any], draws: int) -> list[dict[str, Any]]:
    rates = []
    for column in inside.T:
        own, groups = flips[column], lesions[column]
        if np.isin(own, (0, 1)).all():
            rates.append(proportion(own > 0, groups, draws))
        else:
            rates += bootstrap_many(lambda share: np.array([share.mean()]), groups, own, draws=draws)
    return [{"rate": rate.as_dict()} for rate in rates]


def _ratios(
    flips: _Column, inside: NDArray[np.bool_], stratum: NDArray[np.int64], lesions: NDArray[Any], draws: int
) -> list[dict[str, Any]]:
    alike = stratum[:, None] == np.unique(stratum)

    def both(flips: Any, inside: Any, alike: Any) -> NDArray[np.float64]:
        anywhere = np.ones((len(flips), 1), bool)
        return np.concatenate([ratios_to_rest(flips, inside, anywhere), ratios_to_rest(flips, inside, alike)])

    found = [_unbounded(one).as_dict() for one in bootstrap_many(both, lesions, flips, inside, alike, draws=draws)]
    half = len(found) // 2
    return [{"ratio": plain, "ratio_same_margin": held} for plain, held in zip(found[:half], found[half:], strict=True)]


def _p_values(
    name: str,
    residuals: _Column,
    inside: NDArray[np.bool_],
    alike: NDArray[np.int64],
    lesions: NDArray[Any],
    times: int,
) -> list[dict[str, float]]:
    found = _shuffled(residuals, inside, alike, lesions, times)
    return [{name: p, f"{name}_holm": corrected} for p, corrected in zip(found, holm(found), strict=True)]


def _unbounded(ratio: Estimate) -> Estimate:
    """Where nothing is flipped inside, in every resample, nobody knows how much it may be."""
    return replace(ratio, high=float("nan")) if ratio.value == 0 else ratio


def _expected(flips: _Column, stratum: NDArray[np.int64]) -> _Column:
    """How often the images of each one's stratum are flipped."""
    return np.asarray((np.bincount(stratum, flips) / np.maximum(np.bincount(stratum), 1))[stratum])


def _shuffled(
    residuals: _Column, inside: NDArray[np.bool_], alike: NDArray[np.int64], lesions: NDArray[Any], times: int
) -> list[float]:
    """Two-sided p-values of each column's sum of `residuals`, by handing whole lesions' sums to other lesions.

    To such as are `alike` alone: near-ties flip often or not at all, others hardly ever, and where a subgroup has
    more near-ties, its sum varies more than by handing them to anyone. A lesion is as its nearest tie is.
    """
    _, place = np.unique(lesions, return_inverse=True)
    count = np.bincount(place)
    sums = np.bincount(place, residuals)
    shares = np.stack([np.bincount(place, column) / count for column in inside.T], axis=1)
    block = np.full(len(count), alike.max())
    np.minimum.at(block, place, alike)
    order = np.argsort(block, kind="stable")
    sums, shares, block = sums[order], shares[order], block[order]
    generator = np.random.default_rng(0)
    found = np.abs(sums @ shares)
    reached = np.zeros(inside.shape[1])
    for _ in range(times):
        shuffled = sums[np.argsort(block + generator.random(len(sums)))]  # within each block
        reached += np.abs(shuffled @ shares) >= found - 1e-9
    return [float(p) for p in (reached + 1) / (times + 1)]
