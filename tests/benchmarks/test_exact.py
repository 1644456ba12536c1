"""Exact bounds: tables, values of SciPy, and their coverage by enumeration of every outcome."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from spot_bench.stats import exact
from spot_bench.stats.exact import ALPHA, binomial_lower, binomial_upper, first_rows, net_loss


@cache
def net(lost: int, gained: int, lesions: int) -> exact.Net:
    return net_loss(np.array([lost]), np.array([gained]), np.array([lesions]))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # Clopper and Pearson's two-sided 90 % limits, as tabulated by Hald (1952)
        (0, 10, 0.0, 0.2589),
        (1, 10, 0.0051, 0.3942),
        (5, 10, 0.2224, 0.7776),
        (10, 10, 0.7411, 1.0),
        (0, 250, 0.0, 0.0119),
    ],
)
def test_binomial_bounds_against_tables(k: int, n: int, low: float, high: float) -> None:
    assert (binomial_lower(k, n), binomial_upper(k, n)) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # scipy 1.17.1: beta.ppf(0.05, k, n - k + 1) and beta.ppf(0.95, k + 1, n - k)
        (1, 2, 0.025320566, 0.974679434),
        (3, 61, 0.013537247, 0.122231401),
        (8, 1000, 0.003986851, 0.014388225),
        (60, 5000, 0.009581174, 0.014856476),
        (4990, 5000, 0.996609918, 0.998914531),
        (900, 1000, 0.883008468, 0.915215232),
    ],
)
def test_binomial_bounds_against_scipy(k: int, n: int, low: float, high: float) -> None:
    assert (binomial_lower(k, n), binomial_upper(k, n)) == pytest.approx((low, high), abs=1e-9)


def test_another_confidence() -> None:
    assert binomial_upper(3, 61, 0.01) == pytest.approx(0.155419522, abs=1e-9)  # scipy


@pytest.mark.parametrize(
    ("mean", "variance", "low", "high"),
    [  # scipy 1.17.1: gamma.ppf(0.05 and 0.95, mean**2 / variance, scale=variance / mean)
        (0.05, 0.0025, 0.00256466472, 0.149786614),
        (0.01, 1e-06, 0.00841392772, 0.0116997134),
        (3.0, 0.4, 2.04081728, 4.11041556),
        (0.001, 1e-06, 5.12932944e-05, 0.00299573227),
    ],
)
def test_gamma_quantiles_against_scipy(mean: float, variance: float, low: float, high: float) -> None:
    found = [exact._gamma_quantile(share, mean, variance) for share in (0.05, 0.95)]
    assert found == pytest.approx([low, high], rel=1e-7)


@pytest.mark.parametrize("n", [1, 5, 20])
def test_binomial_bounds_cover_and_are_not_needlessly_wide(n: int) -> None:
    """Add up the probability of every outcome whose bound misses the true share."""
    lower, upper = ([bound(k, n) for k in range(n + 1)] for bound in (binomial_lower, binomial_upper))
    for share in np.linspace(0.005, 0.995, 199):
        chances = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
        assert sum(p for p, bound in zip(chances, upper, strict=True) if bound < share) <= ALPHA + 1e-12
        assert sum(p for p, bound in zip(chances, lower, strict=True) if bound > share) <= ALPHA + 1e-12
    for k, bound in enumerate(upper[:n]):  # at the bound itself, k or fewer have exactly 5 %
        reached = sum(math.comb(n, j) * bound**j * (1 - bound) ** (n - j) for j in range(k + 1))
        assert reached == pytest.approx(ALPHA)


def test_without_gains_the_net_loss_has_the_exact_bound() -> None:
    for k, n in ((0, 61), (4, 61), (9, 250)):
        assert net(k, 0, n).high == pytest.approx(binomial_upper(k, n))
    assert net(0, 4, 61).low == pytest.approx(-binomial_upper(4, 61))
    assert net(0, 4, 61).high < binomial_upper(0, 61)  # gains count
    assert net(4, 4, 61).value == 0
    assert net(61, 0, 61)[0] == net(61, 0, 61).high == 1


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("gain", [0.0, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("loss", [0.0, 0.015, 0.05, 0.2])
def test_net_loss_covers_by_enumeration(n: int, gain: float, loss: float) -> None:
    """Lesions lost and gained are trinomial. Both bounds miss the true net loss in at most 5 %."""
    lost = gain + loss
    too_low = too_high = 0.0
    for k in range(n + 1):
        for g in range(n + 1 - k):
            ways = math.comb(n, k) * math.comb(n - k, g)
            chance = ways * lost**k * gain**g * (1 - lost - gain) ** (n - k - g)
            if chance > 1e-9:
                found = net(k, g, n)
                too_low += chance * (found.high < loss - 1e-12)
                too_high += chance * (found.low > loss + 1e-12)
    assert too_low <= ALPHA + 1e-6
    assert too_high <= ALPHA + 1e-6


def test_a_rare_class_widens_the_mean_over_classes() -> None:
    """No loss proves 3 / (classes * lesions of the rarest): the loss may all be there."""
    nothing, lesions = np.zeros(7, int), np.array([33, 51, 110, 7, 111, 670, 10])
    found = net_loss(nothing, nothing, lesions)
    assert found.high == pytest.approx(-math.log(ALPHA) / (7 * 7), rel=1e-6)
    assert (found.low, found.value, found.lesions) == (-found.high, 0, 992)
    assert net_loss(nothing, nothing, np.full(7, 43)).high < 0.01 < net_loss(nothing, nothing, np.full(7, 42)).high
    without = net_loss(nothing, nothing, np.where(lesions < 20, 0, lesions))  # classes without lesions do not count
    assert without.high == pytest.approx(-math.log(ALPHA) / (5 * 33), rel=1e-6)


def binomial(k: int, n: int, share: float) -> float:
    return math.comb(n, k) * share**k * (1 - share) ** (n - k)


@pytest.mark.parametrize(("common", "rare", "least"), [(0.1, 0.1, 0.0), (0.0, 0.25, 0.01), (0.25, 0.0, 0.0)])
def test_the_mean_over_classes_covers_by_enumeration(common: float, rare: float, least: float) -> None:
    """Two classes of 40 and 12 lesions that lose these shares: every likely outcome without gains."""
    missed, loss, nothing = 0.0, (common + rare) / 2, np.zeros(2, int)
    for a in range(22):
        for b in range(10):
            chance = binomial(a, 40, common) * binomial(b, 12, rare)
            if chance > 1e-9:
                found = net_loss(np.array([a, b]), nothing, np.array([40, 12]))
                missed += chance * (found.high < loss)
    assert least <= missed <= ALPHA  # outcomes left out have less than 0.1 % together


def test_nothing_is_known_without_lesions() -> None:
    assert net(0, 0, 0) == (0, -1, 1, 0, 0, 0)


def test_a_lesion_counts_once_by_its_first_image() -> None:
    groups, images = np.array(["b", "a", "b", "a", "c"]), np.array(["2", "9", "1", "7", "5"])
    assert first_rows(groups, images).tolist() == [False, False, True, True, True]
    assert first_rows(groups[:0], images[:0]).tolist() == []
