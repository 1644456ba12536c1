"""Whether what compressed files change falls on some class, age, sex or site more often than on the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.intervals import DRAWS, Estimate, bootstrap_many, proportion
from spot_bench.subgroups import FEWEST_LESIONS

__all__ = ["SHUFFLES", "concentration", "holm", "ratio_to_rest"]

SHUFFLES = 4000

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
    lesions. p is that of shuffling lesions between the subgroups, and `p_holm` allows for how many were looked at: all
    with FEWEST_LESIONS or more. Smaller ones get counts alone.
    """
    rows, members = [], []
    for name, (subgroups, values) in columns.items():
        for subgroup in subgroups:
            inside = values == subgroup
            if inside.all() or not inside.any():
                continue  # there is no rest, or no image
            rows.append({"column": name, "subgroup": subgroup} | _measured(flips, inside, stratum, lesions, draws))
            members.append(inside)
    looked_at = [number for number, row in enumerate(rows) if row["rate"] is not None]
    if looked_at:
        inside = np.stack([members[number] for number in looked_at], axis=1)
        for key, residuals in (("", flips - flips.mean()), ("_same_margin", flips - _expected(flips, stratum))):
            found = _shuffled(residuals, inside, lesions)
            for number, p, corrected in zip(looked_at, found, holm(found), strict=True):
                rows[number] |= {f"p{key}": p, f"p{key}_holm": corrected}
    return {"looked_at": len(looked_at), "expected_below_.05": 0.05 * len(looked_at), "subgroups": rows}


def ratio_to_rest(flips: _Column, inside: NDArray[np.bool_], stratum: NDArray[np.int64]) -> float:
    """How many times as often images `inside` are flipped as the rest of their stratum (Mantel-Haenszel)."""
    rest = ~inside
    count, others = (np.bincount(stratum[rows], minlength=stratum.max() + 1) for rows in (inside, rest))
    hits, missed = (np.bincount(stratum[rows], flips[rows], stratum.max() + 1) for rows in (inside, rest))
    both = np.maximum(count + others, 1)
    above, below = float((hits * others / both).sum()), float((missed * count / both).sum())
    return above / below if below > 0 else float("nan")


def holm(p: list[float]) -> list[float]:
    """p-values that allow for their number, by Holm's step-down method."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.zeros(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in corrected]


def _measured(
    flips: _Column, inside: NDArray[np.bool_], stratum: NDArray[np.int64], lesions: NDArray[Any], draws: int
) -> dict[str, Any]:
    count = len(np.unique(lesions[inside]))
    record = {"images": int(inside.sum()), "lesions": count, "flips": float(flips[inside].sum())}
    if min(count, len(np.unique(lesions[~inside]))) < FEWEST_LESIONS:
        return record | dict.fromkeys(("rate", "ratio", "ratio_same_margin"))

    def both(flips: Any, inside: Any, stratum: Any) -> NDArray[np.float64]:
        return np.array([ratio_to_rest(flips, inside, np.zeros_like(stratum)), ratio_to_rest(flips, inside, stratum)])

    plain, held = bootstrap_many(both, lesions, flips, inside, stratum, draws=draws)
    own, groups = flips[inside], lesions[inside]
    if set(np.unique(own)) <= {0.0, 1.0}:
        rate = proportion(own > 0, groups, draws)
    else:
        (rate,) = bootstrap_many(lambda share: np.array([share.mean()]), groups, own, draws=draws)
    return record | {
        "rate": rate.as_dict(),
        "ratio": _unbounded(plain).as_dict(),
        "ratio_same_margin": _unbounded(held).as_dict(),
    }


def _unbounded(ratio: Estimate) -> Estimate:
    """Where nothing is flipped inside, in every resample, nobody knows how much it may be."""
    return replace(ratio, high=float("nan")) if ratio.value == 0 else ratio


def _expected(flips: _Column, stratum: NDArray[np.int64]) -> _Column:
    """How often the images of each one's stratum are flipped."""
    return np.asarray((np.bincount(stratum, flips) / np.maximum(np.bincount(stratum), 1))[stratum])


def _shuffled(residuals: _Column, inside: NDArray[np.bool_], lesions: NDArray[Any]) -> list[float]:
    """Two-sided p-values of each column's sum of `residuals`, by handing whole lesions' sums to other lesions."""
    _, place = np.unique(lesions, return_inverse=True)
    count = np.bincount(place)
    sums = np.bincount(place, residuals)
    shares = np.stack([np.bincount(place, column) / count for column in inside.T], axis=1)
    generator = np.random.default_rng(0)
    found = np.abs(sums @ shares)
    reached = np.zeros(inside.shape[1])
    for _ in range(SHUFFLES):
        reached += np.abs(generator.permutation(sums) @ shares) >= found - 1e-9
    return [float(p) for p in (reached + 1) / (SHUFFLES + 1)]
