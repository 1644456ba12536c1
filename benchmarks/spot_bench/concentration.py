"""Whether what compressed files change falls on some class, age, sex or site more often than on the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.intervals import DRAWS, Estimate, bootstrap_many, proportion
from spot_bench.subgroups import FEWEST_LESIONS

__all__ = ["concentration", "holm", "ratios_to_rest"]

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
