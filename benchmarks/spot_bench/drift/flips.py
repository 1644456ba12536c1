"""Measure whether models flip the same images, and whether flips fall on some class, age, sex or site more often.

Images that at least half of the models flip are called exemplars, after "compression identified exemplars" (Hooker et
al. 2019). Most flips are near ties, and near ties are the same images for every model. So the number expected by chance
is computed twice: over all images, and over images with about the same margin."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.drift.subgroups import FEWEST_LESIONS
from spot_bench.stats.intervals import DRAWS, bootstrap_many, proportion
from spot_bench.stats.metrics import Bools

__all__ = ["EDGES", "concentration", "exemplars", "holm", "overlap", "ratios_to_rest", "strata"]

EDGES = (
    0.01,
    0.02,
    0.05,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
)  # bounds of the strata of margins


def strata(margin: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the stratum of each image: the interval of EDGES that holds its margin."""
    return np.searchsorted(EDGES, margin, "right")


def exemplars(flips: Bools) -> Bools:
    """Return the images (rows) that at least half of the models (columns) flip; none for a single model."""
    models = flips.shape[1]
    return np.asarray(2 * flips.sum(axis=1) >= models) if models > 1 else np.zeros(len(flips), bool)


def overlap(flips: Bools, margin: NDArray[np.float64], groups: NDArray[Any], *, draws: int = DRAWS) -> dict[str, Any]:
    """Count exemplars and measure how similar any two models' flips are, and what chance would give.

    Similarity is Jaccard's: images that both flip over images that either flips, with an interval over lesions. For
    chance, the flips of each model are shuffled over all images, or within each stratum of `margin`.
    """
    pairs = list(combinations(range(flips.shape[1]), 2))
    if not pairs:
        return {"exemplars": None, "pairs": []}

    def shared(rows: Bools) -> NDArray[np.float64]:
        return np.array([_jaccard(rows[:, a], rows[:, b]) for a, b in pairs])

    found = bootstrap_many(shared, groups, flips, draws=draws)
    chances = {
        "any_images": _by_chance(flips, np.zeros(len(flips), np.int64), pairs, draws),
        "same_margin": _by_chance(flips, strata(margin), pairs, draws),
    }
    counted = {name: _mean_and_range(counts) for name, (counts, _) in chances.items()}
    return {
        "exemplars": {"count": int(exemplars(flips).sum()), "by_chance": counted},
        "pairs": [
            {
                "models": [a, b],
                "both": int((flips[:, a] & flips[:, b]).sum()),
                "either": int((flips[:, a] | flips[:, b]).sum()),
                "jaccard": (
                    replace(one, low=float("nan"), high=float("nan")) if one.value in (0, 1) else one
                ).as_dict(),
                "by_chance": {
                    name: _mean_and_range(similarity[:, number]) for name, (_, similarity) in chances.items()
                },
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
    """Shuffle flips within strata; return the number of exemplars and the similarity of each pair in every draw."""
    generator = np.random.default_rng(0)
    places = [np.flatnonzero(stratum == number) for number in np.unique(stratum)]
    counts, similarity = np.zeros(draws), np.zeros((draws, len(pairs)))
    for draw in range(draws):
        moved = np.zeros_like(flips)
        for rows in places:
            moved[rows] = generator.permuted(flips[rows], axis=0)  # each model separately
        counts[draw] = exemplars(moved).sum()
        similarity[draw] = [_jaccard(moved[:, a], moved[:, b]) for a, b in pairs]
    return counts, similarity


def _mean_and_range(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Return the mean and the range of the middle 95 %."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return {"mean": None, "low": None, "high": None}
    low, high = np.percentile(defined, [2.5, 97.5])
    return {"mean": float(defined.mean()), "low": float(low), "high": float(high)}


_SHUFFLES = 20  # shuffles per resample: small p-values, which Holm multiplies, must be precise

_Column = NDArray[np.float64]


def concentration(
    flips: _Column,
    columns: dict[str, tuple[list[str], NDArray[np.str_]]],
    stratum: NDArray[np.int64],
    lesions: NDArray[Any],
    *,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Measure how often each subgroup of `columns` (name: subgroups in order, subgroup of each image) is flipped.

    `flips` is 1 for a flipped image, or the share of several models that flip it. The ratio of a subgroup to the rest
    is given as it is and with the `stratum` of the images held fixed (Mantel-Haenszel). Intervals are over lesions. `p`
    comes from shuffling lesions between the subgroups, `p_same_margin` from shuffling within strata. `p_holm` corrects
    for the number of subgroups tested: all with at least FEWEST_LESIONS. Smaller ones get only counts.
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
    tested = [number for number, row in enumerate(rows) if row["enough"]]
    if tested:
        inside = np.stack([named[number][2] for number in tested], axis=1)
        found = [
            _rates(flips, inside, lesions, draws),
            _ratios(flips, inside, stratum, lesions, draws),
            _p_values("p", flips - flips.mean(), inside, np.zeros_like(stratum), lesions, _SHUFFLES * draws),
            _p_values("p_same_margin", flips - _expected(flips, stratum), inside, stratum, lesions, _SHUFFLES * draws),
        ]
        for number, *records in zip(tested, *found, strict=True):
            for record in records:
                rows[number] |= record
    for row in rows:
        del row["enough"]
    return {"tested": len(tested), "expected_below_.05": 0.05 * len(tested), "subgroups": rows}


def ratios_to_rest(flips: _Column, inside: NDArray[np.bool_], alike: NDArray[np.bool_]) -> _Column:
    """Return, for each column of `inside`, the ratio of its flip rate to that of the rest (Mantel-Haenszel).

    Images are compared within the columns of `alike`; NaN if none of the rest is flipped.
    """
    strata, members = alike.T.astype(float), inside.astype(float)
    count, total = strata @ members, alike.sum(axis=0)[:, None]
    hits, all_hits = strata @ (members * flips[:, None]), (strata @ flips)[:, None]
    both = np.maximum(total, 1)
    above = (hits * (total - count) / both).sum(axis=0)
    below = ((all_hits - hits) * count / both).sum(axis=0)
    return np.where(below > 1e-9, above / np.maximum(below, 1e-9), np.nan)


def holm(p: list[float]) -> list[float]:
    """Correct p-values for their number by Holm's step-down method."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.zeros(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in corrected]


def _counted(flips: _Column, inside: NDArray[np.bool_], lesions: NDArray[Any]) -> dict[str, Any]:
    """Count one subgroup: whether there are enough lesions in and out of it, and placeholders for the figures."""
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

    found = [one.as_ratio().as_dict() for one in bootstrap_many(both, lesions, flips, inside, alike, draws=draws)]
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


def _expected(flips: _Column, stratum: NDArray[np.int64]) -> _Column:
    """Return the flip rate of each image's stratum."""
    return np.asarray((np.bincount(stratum, flips) / np.maximum(np.bincount(stratum), 1))[stratum])


def _shuffled(
    residuals: _Column, inside: NDArray[np.bool_], alike: NDArray[np.int64], lesions: NDArray[Any], times: int
) -> list[float]:
    """Return two-sided p-values of each column's sum of `residuals`, by shuffling sums between whole lesions.

    Lesions are shuffled only within the strata `alike`: the flips of near ties vary more than others, and a subgroup
    with many near ties has a more variable sum. The stratum of a lesion is that of its nearest tie.
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
