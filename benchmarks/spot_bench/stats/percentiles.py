"""Percentiles of measured times with distribution-free intervals."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Percentile", "percentile", "samples_needed"]

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile and its 95 % interval; all None with too few samples."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def samples_needed(share: float) -> int:
    """Return the smallest number of samples that gives this percentile a 95 % interval: 299 for 0.99."""
    n = 2
    while 1 - share**n - (1 - share) ** n < CONFIDENCE:
        n += 1
    return n


def percentile(samples: NDArray[np.float64], share: float) -> Percentile:
    """Estimate the `share` percentile (0.5: the median) of independent samples.

    The interval is the narrowest pair of order statistics that encloses the true percentile with 95 % probability. The
    number of samples below it is binomial for any distribution.
    """
    ordered, n = np.sort(np.asarray(samples, np.float64)), len(samples)
    ranks = _enclosing_ranks(n, share)
    if ranks is None:
        return Percentile(None, None, None, n)
    value = ordered[max(math.ceil(round(share * n, 9)), 1) - 1]
    return Percentile(float(value), float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1]), n)


def _enclosing_ranks(n: int, share: float) -> tuple[int, int] | None:
    """Return ranks l < u, counted from 1, with P(l <= B < u) >= 0.95 for B ~ Binomial(n, share)."""
    below = np.concatenate([[0.0], np.cumsum(_binomial(n, share))])  # below[k] = P(B < k)
    lows = np.arange(1, n)
    highs = np.searchsorted(below, below[lows] + CONFIDENCE - 1e-12)
    fits = highs <= n
    if not fits.any():
        return None
    lows, highs = lows[fits], highs[fits]
    middle = share * n + 0.5
    order = np.lexsort((np.abs((lows + highs) / 2 - middle), highs - lows))
    return int(lows[order[0]]), int(highs[order[0]])


def _binomial(n: int, share: float) -> NDArray[np.float64]:
    """Return P(B = k) for k from 0 to n."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    return np.asarray(np.exp(logs[n] - logs - logs[::-1] + k * math.log(share) + (n - k) * math.log1p(-share)))
