"""Simulate files with known shares of lost and gained lesions, and their verdicts by the gate and by other rules."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spot_bench.drift.gate import Margins, verdict_of
from spot_bench.stats.exact import binomial_lower, binomial_upper, net_loss
from spot_bench.stats.intervals import wilson
from spot_edge.model.spec import Verdict

__all__ = [
    "BALANCED",
    "FLIPS",
    "MELANOMA",
    "Counts",
    "Shares",
    "balanced_verdict",
    "flips_verdict",
    "mean_rules",
    "recall_verdict",
    "rules",
    "simulate",
]

_MARGINS = Margins()
MELANOMA, FLIPS, BALANCED = 0.015, 1 - _MARGINS.agreement, _MARGINS.balanced_accuracy

Counts = NDArray[np.int64]


class Shares(dict[str, float]):
    """The shares of the three verdicts."""


def simulate(draw: Callable[[np.random.Generator], tuple[str, ...]], files: int, seed: int = 0) -> list[Shares]:
    """Return the shares of verdicts of each criterion whose verdicts `draw` returns for one simulated file."""
    random = np.random.default_rng(seed)
    found = [draw(random) for _ in range(files)]
    return [
        Shares({verdict: column.count(verdict) / files for verdict in ("pass", "fail", "undecided")})
        for column in zip(*found, strict=True)
    ]


def recall_verdict(lesions: int, loss: float, gain: float) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files that lose `loss` + `gain` of the melanomas and gain `gain`."""

    def draw(random: np.random.Generator) -> tuple[str, ...]:
        lost, gained, _ = random.multinomial(lesions, [loss + gain, gain, 1 - loss - 2 * gain])
        return (_recall(int(lost), int(gained), lesions),)

    return draw


def flips_verdict(lesions: int, share: float) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files that flip `share` of the lesions."""
    return lambda random: (_flips(int(random.binomial(lesions, share)), lesions),)


def balanced_verdict(
    lesions: Counts, losses: NDArray[np.float64], gain: float
) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files that lose the shares `losses` of the classes net, and gain `gain` everywhere."""

    def draw(random: np.random.Generator) -> tuple[str, ...]:
        counts = np.array(
            [
                random.multinomial(n, [p + gain, gain, 1 - p - 2 * gain])[:2]
                for n, p in zip(lesions, losses, strict=True)
            ]
        )
        return (_balanced(tuple(counts[:, 0].tolist()), tuple(counts[:, 1].tolist()), tuple(lesions.tolist())),)

    return draw


@cache
def _recall(lost: int, gained: int, lesions: int) -> Verdict:
    found = net_loss(*(np.array([count]) for count in (lost, gained, lesions)))
    return verdict_of(found.low, found.high, MELANOMA)


@cache
def _flips(flipped: int, lesions: int) -> Verdict:
    return verdict_of(binomial_lower(flipped, lesions), binomial_upper(flipped, lesions), FLIPS)


@cache
def _balanced(lost: tuple[int, ...], gained: tuple[int, ...], lesions: tuple[int, ...]) -> Verdict:
    found = net_loss(*(np.array(counts) for counts in (lost, gained, lesions)))
    return verdict_of(found.low, found.high, BALANCED)


@cache
def _loss_alone(lost: int, gained: int, lesions: int) -> bool:
    """Another rule: the exact bound of the share lost, which ignores gains."""
    return binomial_upper(lost, lesions) <= MELANOMA


@cache
def _bootstrap(lost: int, gained: int, lesions: int) -> bool:
    """Another rule: the upper end of the paired bootstrap's 95 % interval; Wilson's if it does not vary."""
    if not lost + gained:
        return wilson(0, lesions)[1] <= MELANOMA
    shares = [lost / lesions, gained / lesions, 1 - (lost + gained) / lesions]
    drawn = np.random.default_rng(0).multinomial(lesions, shares, 2000)
    return float(np.percentile(drawn[:, 0] - drawn[:, 1], 97.5)) / lesions <= MELANOMA


def rules(lesions: int, loss: float, gain: float) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files as `recall_verdict` does; whether the gate, the exact bound and the paired bootstrap pass them."""

    def draw(random: np.random.Generator) -> tuple[str, ...]:
        lost, gained, _ = map(int, random.multinomial(lesions, [loss + gain, gain, 1 - loss - 2 * gain]))
        passes = (
            _recall(lost, gained, lesions) == "pass",
            _loss_alone(lost, gained, lesions),
            _bootstrap(lost, gained, lesions),
        )
        return tuple("pass" if found else "undecided" for found in passes)

    return draw


def mean_rules(lesions: Counts, losses: NDArray[np.float64]) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files without gains; the verdicts of the gate and of the paired bootstrap on balanced accuracy."""

    def draw(random: np.random.Generator) -> tuple[str, ...]:
        lost = random.binomial(lesions, losses)
        nothing = (0,) * len(lesions)
        ours = _balanced(tuple(lost.tolist()), nothing, tuple(lesions.tolist()))
        drawn = random.binomial(lesions, lost / lesions, (1000, len(lesions))) / lesions
        high = np.percentile(drawn.mean(axis=1), 97.5)
        return ours, "pass" if high <= BALANCED else "undecided"

    return draw
