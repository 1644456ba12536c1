"""Compute 95 % intervals over lesions rather than images, and the exact McNemar test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.stats.metrics import Bools

__all__ = [
    "DRAWS",
    "Estimate",
    "bootstrap",
    "bootstrap_many",
    "compare_correct",
    "exact_mcnemar",
    "proportion",
    "ratio_of_medians",
    "resamples",
    "wilson",
]

DRAWS = 1000
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure, its 95 % interval, and the number of images and groups (lesions) behind it."""

    value: float
    low: float
    high: float
    n: int
    groups: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the JSON form; what could not be computed is null."""
        return {key: None if isinstance(v, float) and math.isnan(v) else v for key, v in asdict(self).items()}

    def as_ratio(self) -> Estimate:
        """Drop the upper bound if this is a ratio of zero: every resample is zero, so the bound is unknown."""
        return replace(self, high=math.nan) if self.value == 0 else self


def wilson(k: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of k successes in n independent trials; 0 to 1 for n = 0."""
    if n == 0:
        return 0.0, 1.0
    share, square = k / n, _Z * _Z
    middle = (share + square / (2 * n)) / (1 + square / n)
    reach = _Z / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return (0.0 if k == 0 else middle - reach), (1.0 if k == n else middle + reach)


def resamples(groups: Sequence[Any] | NDArray[Any], draws: int = DRAWS, seed: int = 0) -> list[NDArray[np.intp]]:
    """Return the row numbers of `draws` resamples: as many groups as there are, drawn with replacement, with all rows.

    The same groups and seed give the same resamples. This is how two models are compared on the same resamples.
    """
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    by_group = np.argsort(place, kind="stable")
    sizes = np.bincount(place)
    starts = np.cumsum(sizes) - sizes
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        chosen = generator.integers(0, len(sizes), len(sizes))
        lengths = sizes[chosen]
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        drawn.append(by_group[np.repeat(starts[chosen], lengths) + within])
    return drawn


def bootstrap(
    statistic: Callable[..., float],
    groups: Sequence[Any] | NDArray[Any],
    *arrays: NDArray[Any],
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Estimate `statistic(*arrays)` with its expanded percentile interval over resampled groups.

    Every array has one row per image and is resampled in the same way: a paired difference is a statistic of both
    models' scores. Resamples whose statistic is NaN (for example without a positive image) are left out.
    """

    def one(*rows: NDArray[Any]) -> NDArray[np.float64]:
        return np.array([statistic(*rows)])

    return bootstrap_many(one, groups, *arrays, draws=draws, seed=seed)[0]


def bootstrap_many(
    statistics: Callable[..., NDArray[np.float64]],
    groups: Sequence[Any] | NDArray[Any],
    *arrays: NDArray[Any],
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Estimate]:
    """Do `bootstrap` for several figures at once: `statistics(*arrays)` returns one number per figure."""
    values = np.asarray(statistics(*arrays), np.float64)
    found = np.array([statistics(*(array[rows] for array in arrays)) for rows in resamples(groups, draws, seed)])
    images, lesions = len(groups), len(np.unique(np.asarray(groups)))
    return [
        Estimate(float(value), *_percentiles(column, lesions), images, lesions)
        for value, column in zip(values, found.T, strict=True)
    ]


def proportion(
    hits: NDArray[np.bool_], groups: Sequence[Any] | NDArray[Any], draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """Estimate the share of `hits` with its expanded percentile interval over resampled groups.

    For shares of 0 and 1, where resampling gives no interval, use the Wilson interval of the groups.
    """
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sizes = np.bincount(place)
    images, lesions = len(hits), len(sizes)
    if not images:
        return Estimate(float("nan"), 0.0, 1.0, 0, 0)
    value = float(hits.mean())
    if value in (0.0, 1.0):
        return Estimate(value, *wilson(round(value * lesions), lesions), images, lesions)
    successes = np.bincount(place, weights=hits)
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(0, lesions, lesions) for _ in range(draws))
    shares = np.array([successes[chosen].sum() / sizes[chosen].sum() for chosen in drawn])
    return Estimate(value, *_percentiles(shares, lesions), images, lesions)


def ratio_of_medians(ours: NDArray[np.float64], base: NDArray[np.float64]) -> Estimate:
    """Estimate the median of `ours` over that of `base`, times measured in turns: one row per turn in both."""
    return bootstrap(lambda a, b: float(np.median(a) / np.median(b)), np.arange(len(ours)), ours, base)


def _percentiles(column: NDArray[np.float64], groups: int) -> tuple[float, float]:
    """Return the middle 95 % of resampled figures, and a little more for few groups.

    Resamples vary less than samples, by (n - 1) / n, and ignore Student's t. The percentiles are moved outwards by both
    (Hesterberg 2015, "expanded percentile interval"). With 1,000 groups, they are the plain percentiles.
    """
    defined = column[~np.isnan(column)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = 100 * NormalDist().cdf(-math.sqrt(groups / (groups - 1)) * _student(groups - 1)) if groups > 1 else 0.0
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def _student(freedom: int) -> float:
    """Return the 97.5 % point of Student's t by its expansion about the normal one (Abramowitz and Stegun 26.7.5)."""
    z, f = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
    )


def exact_mcnemar(lost: int, gained: int) -> float:
    """Return the exact two-sided p-value of `lost` against `gained`, by the binomial distribution."""
    total = lost + gained
    ways = reached = 1  # binomial coefficients, and their running sum
    for chosen in range(min(lost, gained)):
        ways = ways * (total - chosen) // (chosen + 1)
        reached += ways
    return min(2 * reached / (1 << total), 1.0)


def compare_correct(before: Bools, after: Bools, groups: NDArray[Any]) -> dict[str, Any]:
    """Count what was right `before` and is not `after` (lost), and the reverse (gained), with p-values.

    The test by images assumes that images are independent, which those of one lesion are not. The test by lesions
    counts each lesion once: as lost if more of its images were lost than gained. `groups` has each image's lesion.
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
