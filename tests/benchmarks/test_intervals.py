"""Intervals: known values, whole lesions, and coverage."""

from __future__ import annotations

import math
import time
from statistics import NormalDist

import numpy as np
import pytest

from spot_bench.stats import intervals
from spot_bench.stats.intervals import bootstrap, bootstrap_many, proportion, resamples, wilson
from spot_bench.stats.metrics import accuracy, balanced_accuracy


def mean(values: np.ndarray) -> float:
    return float(values.mean())


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_against_published_values(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_zero_and_one() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(20, 20) == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


def test_resamples_keep_groups_whole() -> None:
    groups = ["b", "a", "b", "c", "b", "a"]
    for rows in resamples(groups, draws=50):
        drawn = [groups[row] for row in rows]
        times = {name: drawn.count(name) / groups.count(name) for name in set(groups)}
        assert all(value == int(value) for value in times.values())
        assert sum(times.values()) == 3
        for name in "abc":  # every image of a drawn group, equally often
            counts = {list(rows).count(row) for row, group in enumerate(groups) if group == name}
            assert len(counts) == 1


def test_bootstrap_is_deterministic() -> None:
    values, groups = np.random.default_rng(0).normal(size=100), np.arange(100) // 2
    first = bootstrap(mean, groups, values)
    assert first == bootstrap(mean, groups, values)
    assert first != bootstrap(mean, groups, values, seed=1)
    assert first.value == values.mean()
    assert (first.n, first.groups) == (100, 50)
    assert first.low < first.value < first.high


def test_images_of_one_lesion_are_not_independent() -> None:
    values = np.random.default_rng(0).normal(size=60)
    once = bootstrap(mean, np.arange(60), values)
    tenfold = bootstrap(mean, np.repeat(np.arange(60), 10), np.repeat(values, 10))
    assert tenfold.high - tenfold.low == pytest.approx(once.high - once.low, rel=0.15)
    naive = bootstrap(mean, np.arange(600), np.repeat(values, 10))
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_coverage_is_about_95_percent() -> None:
    """Lesions of three correlated images; the true share is 0.7."""
    random, covered = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(80), 3)
    for trial in range(200):
        chance = random.beta(7, 3, 80)
        hits = random.random(240) < np.repeat(chance, 3)
        found = proportion(hits, groups, draws=300, seed=trial)
        covered += found.low <= 0.7 <= found.high
    assert 180 <= covered <= 198


def test_paired_differences_share_their_resamples() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 3, 500)
    scores = random.dirichlet(np.ones(3), 500)
    close = scores.copy()
    close[:5] = close[:5, ::-1]

    def difference(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
        return accuracy(truth, b) - accuracy(truth, a)

    paired = bootstrap(difference, np.arange(500), truth, scores, close)
    unpaired = bootstrap(accuracy, np.arange(500), truth, scores)
    assert paired.high - paired.low < 0.25 * (unpaired.high - unpaired.low)
    same = bootstrap(difference, np.arange(500), truth, scores, scores)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_many_figures_equal_one_by_one() -> None:
    random = np.random.default_rng(0)
    truth, scores, groups = random.integers(0, 3, 90), random.dirichlet(np.ones(3), 90), np.arange(90) // 3
    both = bootstrap_many(lambda t, s: np.array([accuracy(t, s), balanced_accuracy(t, s)]), groups, truth, scores)
    assert both == [bootstrap(accuracy, groups, truth, scores), bootstrap(balanced_accuracy, groups, truth, scores)]


def test_resamples_without_a_value_are_left_out() -> None:
    values = np.array([1.0, np.nan, np.nan])
    found = bootstrap(lambda v: float(v[0]) if len(v) else 0.0, np.arange(3), values)
    assert (found.low, found.high) == (1.0, 1.0)
    never = bootstrap(lambda v: float("nan"), np.arange(3), values)
    assert math.isnan(never.low)
    assert never.as_dict() == {"value": None, "low": None, "high": None, "n": 3, "groups": 3}


def test_proportion_equals_the_bootstrap_of_a_mean() -> None:
    random = np.random.default_rng(0)
    hits, groups = random.random(200) < 0.8, random.integers(0, 90, 200)
    found, plain = proportion(hits, groups), bootstrap(mean, groups, hits)
    assert found.value == plain.value
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high))


def test_proportion_always_has_an_interval() -> None:
    found = proportion(np.ones(12, bool), np.arange(12) // 2)
    assert (found.value, found.low, found.high) == (1.0, *wilson(6, 6))
    assert proportion(np.zeros(0, bool), []).as_dict() == {"value": None, "low": 0.0, "high": 1.0, "n": 0, "groups": 0}


def test_two_thousand_images_take_seconds() -> None:
    random = np.random.default_rng(0)
    truth, scores = random.integers(0, 7, 2000), random.dirichlet(np.ones(7), 2000)
    start = time.process_time()
    bootstrap(balanced_accuracy, np.arange(2000) // 2, truth, scores)
    assert time.process_time() - start < 30


# scipy.stats.t.ppf(0.975, f) of SciPy 1.17.1
STUDENT = {
    5: 2.5705818356363146,
    10: 2.228138851986274,
    29: 2.045229642132703,
    39: 2.022690920036761,
    100: 1.9839715185235518,
    999: 1.9623414611334493,
}


@pytest.mark.parametrize("freedom", STUDENT)
def test_students_t_against_scipy(freedom: int) -> None:
    """The expansion leaves out terms of the fourth order in 1/f."""
    assert abs(intervals._student(freedom) - STUDENT[freedom]) < 2 / freedom**4


def test_few_lesions_widen_the_interval_like_students_t() -> None:
    values = np.random.default_rng(3).normal(size=40)
    resampled = [values[rows].mean() for rows in resamples(np.arange(40))]
    assert len(resampled) == 1000
    tail = 100 * NormalDist().cdf(-math.sqrt(40 / 39) * STUDENT[39])
    assert 2.0 < tail < 2.5
    found = bootstrap(mean, np.arange(40), values)
    assert (found.low, found.high) == pytest.approx(np.percentile(resampled, [tail, 100 - tail]), abs=1e-6)


def test_one_lesion_has_no_spread() -> None:
    found = bootstrap(mean, ["a", "a", "a"], np.array([1.0, 2.0, 6.0]))
    assert found == intervals.Estimate(3.0, 3.0, 3.0, 3, 1)
    two = bootstrap(mean, ["a", "b"], np.array([1.0, 2.0]))
    assert (two.low, two.high) == (1.0, 2.0)


def test_a_share_of_zero_has_an_interval() -> None:
    found = proportion(np.zeros(12, bool), np.arange(12) // 2)
    assert (found.value, found.low, found.high) == (0.0, *wilson(0, 6))
