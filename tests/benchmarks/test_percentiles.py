"""Percentiles of times and their order-statistic intervals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from spot_bench.stats.percentiles import percentile, samples_needed


def binomial_below(n: int, share: float) -> list[float]:
    """Return P(B < k) for k from 0 to n + 1."""
    terms = [math.comb(n, j) * share**j * (1 - share) ** (n - j) for j in range(n + 1)]
    return [0.0, *itertools.accumulate(terms)]


def ranked(n: int) -> np.ndarray:
    """Return shuffled samples whose values are their ranks."""
    return np.random.default_rng(0).permutation(np.arange(1.0, n + 1))


def test_samples_needed() -> None:
    assert [samples_needed(share) for share in (0.5, 0.9, 0.99)] == [6, 29, 299]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [299, 300, 517, 1000])
def test_intervals_cover_and_are_narrow(share: float, n: int) -> None:
    found = percentile(ranked(n), share)
    assert found.value == math.ceil(round(share * n, 9))
    assert found.low is not None
    assert found.high is not None
    low, high = int(found.low), int(found.high)
    assert low <= found.value <= high
    below = binomial_below(n, share)
    assert below[high] - below[low] >= 0.95 - 1e-9
    width = high - low - 1
    assert all(below[start + width] - below[start] < 0.95 for start in range(1, n - width))  # none is narrower


@pytest.mark.parametrize(("share", "fewest"), [(0.5, 6), (0.9, 29), (0.99, 299)])
def test_too_few_samples_give_no_percentile(share: float, fewest: int) -> None:
    few = percentile(ranked(fewest - 1), share)
    assert few.as_dict() == {"value": None, "low": None, "high": None, "n": fewest - 1}
    assert percentile(ranked(fewest), share).value is not None
    assert percentile(np.zeros(0), share).value is None


def test_many_samples_do_not_underflow() -> None:
    found = percentile(ranked(100_000), 0.5)
    assert found.low == pytest.approx(50_000 - 310, abs=2)
    assert found.high == pytest.approx(50_000 + 310, abs=2)
