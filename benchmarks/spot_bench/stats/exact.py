"""Confidence bounds that hold for few events and for none, where resampling is silent or too narrow.

Each bound is one-sided: in at most 5 % of samples the true value lies beyond it, whatever it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALPHA", "Net", "binomial_lower", "binomial_upper", "first_rows", "net_loss"]

ALPHA = 0.05  # of each bound
_STEPS = 60  # halvings of an interval of length 1: below the precision of a float

Floats = NDArray[np.float64]


def binomial_upper(k: int, n: int, alpha: float = ALPHA) -> float:
    """Return the Clopper-Pearson upper bound of a share: k of n independent trials, with confidence 1 - alpha.

    It is the share at which k or fewer successes have the probability alpha; 1 if k = n.
    """
    return 1.0 if k >= n else _share_where(k, n, math.log(alpha))


def binomial_lower(k: int, n: int, alpha: float = ALPHA) -> float:
    """Return the Clopper-Pearson lower bound of a share: the one at which k or more successes have the probability
    alpha; 0 if k = 0.
    """
    return 0.0 if k <= 0 else _share_where(k - 1, n, math.log1p(-alpha))


def _share_where(k: int, n: int, log_chance: float) -> float:
    """Return the share at which the logarithm of the probability of at most k successes in n trials is `log_chance`."""
    terms = np.arange(k + 1)
    ways = np.concatenate([[0.0], np.cumsum(np.log((n - terms[1:] + 1) / terms[1:]))])

    def likelier(p: float) -> bool:
        return _log_sum(ways + terms * math.log(p) + (n - terms) * math.log1p(-p)) > log_chance

    return _bisect(likelier, 0.0, 1.0)


class Net(NamedTuple):
    """A net loss, its one-sided 95 % bounds, and the lesions lost and gained of those behind it."""

    value: float
    low: float
    high: float
    lost: int
    gained: int
    lesions: int


def net_loss(lost: NDArray[np.int64], gained: NDArray[np.int64], lesions: NDArray[np.int64]) -> Net:
    """Bound the mean over classes of the share of lesions lost minus the share gained.

    Each array has one count per class; a class without lesions counts for nothing. For one class, the bounds of the two
    shares are Clopper-Pearson's. For several, they are those of Fay and Feuer (1997) for weighted sums of counts. The
    two are combined by the square-and-add method (Zou and Donner 2008), so that gains and losses make up for one
    another. If nothing was gained, the upper bound of one class is exact.
    """
    some = lesions > 0
    lost, gained, lesions = lost[some], gained[some], lesions[some]
    total = int(lesions.sum())
    if not total:
        return Net(0.0, -1.0, 1.0, 0, 0, 0)
    if len(lesions) == 1:
        sides = [_share(int(counts[0]), total) for counts in (lost, gained)]
    else:
        sides = [_weighted(counts, 1 / (len(lesions) * lesions)) for counts in (lost, gained)]
    (loss, least_loss, most_loss), (gain, least_gain, most_gain) = sides
    value, together = loss - gain, 0.0
    if len(lesions) == 1 and loss + gain < 1:  # a lesion that is lost cannot be gained: the shares are correlated
        together = math.sqrt(loss * gain / ((1 - loss) * (1 - gain)))
    low = value - _add(loss - least_loss, most_gain - gain, together)
    high = value + _add(most_loss - loss, gain - least_gain, together)
    return Net(value, max(low, -1.0), min(high, 1.0), int(lost.sum()), int(gained.sum()), total)


def first_rows(groups: NDArray[Any], images: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark one image of each group: the first by name."""
    order = np.lexsort((images, groups))
    first = np.ones(len(order), bool)
    first[1:] = groups[order][1:] != groups[order][:-1]
    marked = np.zeros(len(order), bool)
    marked[order[first]] = True
    return marked


def _share(k: int, n: int) -> tuple[float, float, float]:
    return k / n, binomial_lower(k, n), binomial_upper(k, n)


def _add(a: float, b: float, together: float) -> float:
    return math.sqrt(a * a + b * b + 2 * together * a * b)


def _weighted(counts: NDArray[np.int64], weights: Floats) -> tuple[float, float, float]:
    """Return the sum of `counts` times `weights` with its bounds by Fay and Feuer, from a gamma distribution."""
    value, variance = float(counts @ weights), float(counts @ weights**2)
    largest = float(weights.max())
    low = _gamma_quantile(ALPHA, value, variance) if value else 0.0
    return value, low, _gamma_quantile(1 - ALPHA, value + largest, variance + largest**2)


def _gamma_quantile(share: float, mean: float, variance: float) -> float:
    """Return the quantile of the gamma distribution with this mean and variance."""
    shape, scale = mean**2 / variance, variance / mean
    most = shape + 12 * math.sqrt(shape) + 40  # beyond the 99.9 % point of every shape
    return scale * most * _bisect(lambda part: _gamma_cdf(shape, most * part) < share, 0.0, 1.0)


def _gamma_cdf(shape: float, x: float) -> float:
    """Return the regularized lower incomplete gamma function by its power series."""
    if x <= 0:
        return 0.0
    factors = x / (shape + np.arange(1, int(x + 12 * math.sqrt(x + shape)) + 60))
    series = _log_sum(np.concatenate([[0.0], np.cumsum(np.log(factors))]))
    return min(1.0, math.exp(shape * math.log(x) - x - math.lgamma(shape + 1) + series))


def _log_sum(logs: Floats) -> float:
    """Return the logarithm of the sum of exponentials, without overflow."""
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()))


def _bisect(below: Callable[[float], bool], low: float, high: float) -> float:
    """Return the number between `low` and `high` at which `below` turns false, or the float above it."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return high
