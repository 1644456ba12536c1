"""Conformal thresholds reach their coverage on new lesions, and are 0 with too few lesions."""

from __future__ import annotations

import numpy as np
import pytest

from spot_bench.stats.conformal import conformal_thresholds, measured_sets, set_threshold
from spot_edge.errors import DataError


def test_single_images_give_the_usual_quantile() -> None:
    scores = np.arange(1, 100) / 100  # 99 images: the (99 + 1) * .1 = 10th smallest
    found = set_threshold(scores[::-1], np.arange(99), 0.9)
    assert (found.coverage, found.threshold, found.n) == (0.9, 0.1, 99)


def test_images_of_one_lesion_share_its_weight() -> None:
    once = set_threshold(np.arange(1, 20) / 100, np.arange(19), 0.9)
    often = set_threshold(np.repeat(np.arange(1, 20) / 100, 5), np.repeat(np.arange(19), 5), 0.9)
    assert often == once


@pytest.mark.parametrize(("lesions", "threshold"), [(8, 0.0), (9, 0.5)])
def test_too_few_lesions_put_every_class_into_the_set(lesions: int, threshold: float) -> None:
    assert set_threshold(np.full(lesions, 0.5), np.arange(lesions), 0.9).threshold == threshold


def test_coverage_of_new_lesions() -> None:
    random = np.random.default_rng(4)

    def lesions(count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw lesions with one to five images that resemble each other."""
        groups = np.repeat(np.arange(count), random.integers(1, 6, count))
        own = random.normal(0, 1, count)
        return 1 / (1 + np.exp(-own[groups] - random.normal(0, 0.3, len(groups)))), groups

    covered = []
    for _ in range(100):
        scores, groups = lesions(60)
        threshold = set_threshold(scores, groups, 0.9).threshold
        new, owner = lesions(60)
        covered.append((np.bincount(owner, new >= threshold) / np.bincount(owner)).mean())
    assert 0.89 < np.mean(covered) < 0.94


def test_melanoma_has_a_higher_coverage_and_absent_classes_no_threshold() -> None:
    random = np.random.default_rng(0)
    scores, truth = random.dirichlet(np.ones(3), 300), random.integers(0, 2, 300)
    found = conformal_thresholds(["nv", "mel", "df"], scores, truth, np.arange(300), measured_on="validation")
    assert found.marginal.coverage == 0.9
    assert {label: chosen.coverage for label, chosen in found.classes.items()} == {"nv": 0.9, "mel": 0.95}
    mel = scores[truth == 1, 1]
    assert (mel >= found.classes["mel"].threshold).mean() >= 0.95


def test_no_images_is_an_error() -> None:
    with pytest.raises(DataError, match="no image"):
        set_threshold(np.zeros(0), [], 0.9)


def test_coverage_and_size_of_sets() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    covered, size = measured_sets(np.array([0.3, 0.2, 0.5]), scores, np.array([0, 1, 2, 0]), np.array([0, 1, 1, 2]))
    assert (covered.value, covered.n, covered.groups) == (0.75, 4, 3)
    assert size.value == (2 + 2 + 2 + 1) / 4
    assert 1 <= size.low < size.value < size.high <= 2
