"""Calculate exactly how many lesions a file needs to pass."""

from __future__ import annotations

import math

from spot_bench.stats.exact import ALPHA, binomial_upper

__all__ = ["lesions_for_power", "margin_for_power", "power_of", "without_loss"]


def lesions_for_power(margin: float, share: float, power: float = 0.8) -> int:
    """Return the fewest lesions at which a file that loses `share` and gains nothing passes with `power`.

    The exact test is the most powerful one for a share, so that no rule with an error of 5 % needs fewer.
    """
    low, high = 1, 2
    while power_of(high, margin, share) < power:
        low, high = high, 2 * high
    while high - low > 1:  # power rises with the lesions, but for steps of about 1 %
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle, margin, share) >= power else (middle, high)
    return high


def margin_for_power(lesions: int) -> float:
    """Return the smallest margin, in tenths of a point, that a file with half of it as its loss passes with 80 %."""
    return next(m / 1000 for m in range(1, 1000) if power_of(lesions, m / 1000, m / 2000) >= 0.8)


def power_of(lesions: int, margin: float, share: float) -> float:
    """Return the chance to pass of a file that loses `share` of the lesions and gains nothing."""
    most = -1  # lost lesions with which a file passes
    while binomial_upper(most + 1, lesions) <= margin:
        most += 1
    return _at_most(most, lesions, share)


def _at_most(k: int, n: int, share: float) -> float:
    if k < 0:
        return 0.0
    chosen = math.lgamma(n + 1)
    logs = [
        chosen - math.lgamma(j + 1) - math.lgamma(n - j + 1) + j * math.log(share) + (n - j) * math.log1p(-share)
        for j in range(k + 1)
    ]
    return math.fsum(map(math.exp, logs))


def without_loss(margin: float) -> int:
    """Return the fewest lesions of which none is lost if the bound is to be within `margin`."""
    return math.ceil(math.log(ALPHA) / math.log1p(-margin))
