"""Simulate data sets: a 95 % interval covers the truth in 95 of 100. Takes minutes, so it runs nightly."""

from __future__ import annotations

import numpy as np
import pytest

from spot_bench.stats.intervals import bootstrap_many
from spot_bench.stats.metrics import accuracy, balanced_accuracy

pytestmark = pytest.mark.nightly

DATA_SETS, LESIONS = 500, 300
SHARES, RECALLS = np.array([0.7, 0.2, 0.1]), np.array([0.9, 0.7, 0.5])  # of three classes
TRUTHS = np.array([SHARES @ RECALLS, RECALLS.mean()])


def simulated(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw lesions of one to four correlated images: groups, true classes, scores."""
    sizes = random.choice([1, 2, 3, 4], LESIONS, p=[0.7, 0.2, 0.06, 0.04])
    kinds = random.choice(3, LESIONS, p=SHARES)
    chance = random.beta(4 * RECALLS[kinds], 4 * (1 - RECALLS[kinds]))
    truth = np.repeat(kinds, sizes)
    correct = random.random(len(truth)) < np.repeat(chance, sizes)
    return np.repeat(np.arange(LESIONS), sizes), truth, np.eye(3)[np.where(correct, truth, (truth + 1) % 3)]


def test_bootstrap_intervals_cover_the_truth() -> None:
    random, covered = np.random.default_rng(0), np.zeros(2)
    for seed in range(DATA_SETS):
        groups, truth, scores = simulated(random)
        found = bootstrap_many(
            lambda t, s: np.array([accuracy(t, s), balanced_accuracy(t, s)]), groups, truth, scores, seed=seed
        )
        covered += [e.low <= value <= e.high for e, value in zip(found, TRUTHS, strict=True)]
    shares = covered / DATA_SETS
    found_shares = f"accuracy {shares[0]:.3f}, balanced accuracy {shares[1]:.3f}"
    print(f"{DATA_SETS} data sets: {found_shares} of the intervals cover the truth")
    assert np.all((shares >= 0.93) & (shares <= 0.97)), found_shares
