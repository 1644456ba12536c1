"""Metrics against values computed by hand and against simple loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from spot_bench.stats import metrics
from spot_edge.errors import DataError

# Four images of three classes; the third class does not occur. Top classes: 0, 1, 1, 0.
TRUTH = np.array([0, 0, 1, 1])
SCORES = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]])


def random_case(seed: int, images: int = 200, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.dirichlet(np.ones(classes), images).round(2)  # rounded: ties
    return random.integers(0, classes, images), scores


def test_against_values_by_hand() -> None:
    assert metrics.accuracy(TRUTH, SCORES) == 0.5
    assert metrics.recalls(TRUTH, SCORES).tolist()[:2] == [0.5, 0.5]
    assert math.isnan(metrics.recalls(TRUTH, SCORES)[2])
    assert metrics.balanced_accuracy(TRUTH, SCORES) == 0.5
    assert metrics.confusion(TRUTH, SCORES).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    expected_brier = (0.09 + 0.04 + 0.01 + 0.49 + 0.36 + 0.01 + 0.01 + 0.04 + 0.01 + 0.25 + 0.36 + 0.01) / 4
    assert metrics.brier(TRUTH, SCORES) == pytest.approx(expected_brier)
    assert metrics.log_loss(TRUTH, SCORES) == pytest.approx(-np.log([0.7, 0.3, 0.8, 0.4]).mean())


def test_balanced_accuracy_weights_classes_equally() -> None:
    truth = np.array([0, 0, 0, 1])
    scores = np.array([[0.9, 0.1]] * 4)
    assert metrics.accuracy(truth, scores) == 0.75
    assert metrics.balanced_accuracy(truth, scores) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_probability_of_the_right_order(seed: int) -> None:
    truth, scores = random_case(seed, 80)
    positive, score = truth == 0, scores[:, 0]
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive] for n in score[~positive]]
    assert metrics.auc(positive, score) == pytest.approx(np.mean(pairs))


def test_auc_needs_both_kinds() -> None:
    assert math.isnan(metrics.auc(np.array([True, True]), np.array([0.1, 0.2])))
    assert metrics.auc(np.array([True, False]), np.array([0.2, 0.1])) == 1.0
    assert metrics.auc(np.array([True, False]), np.array([0.1, 0.1])) == 0.5


def test_macro_auc_leaves_absent_classes_out() -> None:
    aucs = metrics.class_aucs(TRUTH, SCORES)
    assert math.isnan(aucs[2])
    assert metrics.macro_auc(TRUTH, SCORES) == pytest.approx((aucs[0] + aucs[1]) / 2)


def test_ece_against_plain_bins() -> None:
    truth, scores = random_case(3, 150)
    top, hit = scores.max(axis=1), scores.argmax(axis=1) == truth
    expected = 0.0
    for members in np.array_split(np.argsort(top, kind="stable"), 15):
        expected += len(members) / 150 * abs(top[members].mean() - hit[members].mean())
    assert metrics.ece(truth, scores) == pytest.approx(expected)


def test_ece_of_a_calibrated_model_is_small() -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(3), 20_000)
    truth = (scores.cumsum(axis=1) < random.random(20_000)[:, None]).sum(axis=1)
    assert metrics.ece(truth, scores) < 0.02
    assert metrics.ece(truth, np.eye(3)[scores.argmax(axis=1)]) > 0.2


def test_ece_of_fewer_images_than_bins() -> None:
    assert metrics.ece(TRUTH, SCORES) == pytest.approx(np.abs([0.7 - 1, 0.6 - 0, 0.8 - 1, 0.5 - 0]).mean())


def test_distances_between_models() -> None:
    p, q = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    assert metrics.kl(p, q) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert metrics.kl(p, p) == 0
    assert math.isfinite(metrics.kl(p, np.array([[0.0, 1.0]])))
    assert metrics.agreement(SCORES, SCORES[[1, 0, 2, 3]]) == 0.5


def test_a_score_of_zero_does_not_make_log_loss_infinite() -> None:
    assert math.isfinite(metrics.log_loss(np.array([0]), np.array([[0.0, 1.0]])))


def test_malignant_score_sums_in_the_order_of_the_device() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(7), 50).astype(np.float32)
    mask = np.array([True, True, False, False, True, False, False])
    device = [sum(float(s) for flag, s in zip(mask, row, strict=True) if flag) for row in scores]
    assert metrics.malignant_score(scores, mask).tolist() == device


@pytest.mark.parametrize("sensitivity", [0.01, 0.5, 0.9, 0.95, 1.0])
def test_threshold_is_the_largest_that_reaches_the_sensitivity(sensitivity: float) -> None:
    random = np.random.default_rng(1)
    score, positive = random.random(300).round(2), random.random(300) < 0.3
    threshold = metrics.threshold_for_sensitivity(score, positive, sensitivity)
    assert metrics.rates_at(score, positive, threshold)[0] >= sensitivity
    higher = [value for value in score if value > threshold]
    assert all(metrics.rates_at(score, positive, value)[0] < sensitivity for value in higher)


def test_threshold_needs_a_positive() -> None:
    with pytest.raises(DataError, match="no positive image"):
        metrics.threshold_for_sensitivity(np.array([0.5]), np.array([False]), 0.9)


def test_rates_by_hand() -> None:
    score, positive = np.array([0.9, 0.4, 0.6, 0.1]), np.array([True, True, False, False])
    assert metrics.rates_at(score, positive, 0.4) == (1.0, 0.5)
    assert metrics.rates_at(score, positive, 0.95) == (0.0, 1.0)
    sensitivity, specificity = metrics.rates_at(score, np.zeros(4, bool), 0.5)
    assert math.isnan(sensitivity)
    assert specificity == 0.5


def test_no_images_give_nan_without_warnings() -> None:
    truth, scores = np.zeros(0, int), np.zeros((0, 3))
    for metric in (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_auc, metrics.ece, metrics.brier):
        assert math.isnan(metric(truth, scores))


def test_the_youden_threshold_is_the_largest_of_the_best() -> None:
    score = np.array([0.1, 0.2, 0.3, 0.3, 0.8, 0.9])
    positive = np.array([False, False, True, False, True, True])
    # 0.3 is as good: a third more true positives, a third more false positives
    assert metrics.youden_threshold(score, positive) == 0.8
    with pytest.raises(DataError, match="no positive or no negative"):
        metrics.youden_threshold(score, np.ones(6, bool))
    for seed in range(5):
        truth, scores = random_case(seed, classes=2)
        positive = truth == 1
        best = max(sum(metrics.rates_at(scores[:, 1], positive, t)) for t in np.unique(scores[:, 1]))
        found = metrics.youden_threshold(scores[:, 1], positive)
        assert sum(metrics.rates_at(scores[:, 1], positive, found)) == pytest.approx(best)


def reference_case() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(11)
    scores = random.dirichlet(np.ones(4), 200)
    truth = random.integers(0, 4, 200)
    scores = scores * 0.6
    scores[np.arange(200), truth] += 0.04
    return truth, scores / scores.sum(axis=1, keepdims=True)


def test_against_scikit_learn() -> None:
    """top_k_accuracy_score and roc_curve(drop_intermediate=False) of scikit-learn 1.9.1 on the reference case."""
    truth, scores = reference_case()
    assert metrics.top_accuracy(truth, scores, 2) == pytest.approx(0.635)
    assert metrics.top_accuracy(truth, scores, 3) == pytest.approx(0.865)
    curve = metrics.roc(scores[:, 1] + scores[:, 3], truth == 1, most=1000)
    assert len(curve) == 201
    for row, (across, up, threshold) in {
        1: (0.0, 0.0196078431372549, 0.9577109054482095),
        50: (0.24161073825503357, 0.27450980392156865, 0.6690361546934407),
        120: (0.6040268456375839, 0.5882352941176471, 0.43264834511580985),
        200: (1.0, 1.0, 0.0765625935614608),
    }.items():
        assert curve[row].tolist() == pytest.approx([threshold, across, up])


def test_top_accuracy() -> None:
    truth, scores = random_case(3)
    assert metrics.top_accuracy(truth, scores, 1) == metrics.accuracy(truth, scores)  # ties are broken like argmax
    assert math.isnan(metrics.top_accuracy(truth, scores, 4))


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    random = np.random.default_rng(2)
    positive = random.random(5000) < 0.2
    score = random.normal(positive * 1.5, 1)
    curve = metrics.roc(score, positive, most=200)
    assert 100 < len(curve) <= 200
    assert curve[0].tolist() == [math.inf, 0, 0]
    assert curve[-1, 1:].tolist() == [1, 1]
    assert np.diff(curve[:, 1] + curve[:, 2]).max() < 2 / 199 + 0.002  # even steps, up to one image's
    assert np.trapezoid(curve[:, 2], curve[:, 1]) == pytest.approx(metrics.auc(positive, score), abs=0.002)
    assert len(metrics.roc(score, np.zeros(5000, bool))) == 0
    few = metrics.roc(np.array([0.5, 0.5, 0.1]), np.array([True, False, True]))
    assert few.tolist() == [[math.inf, 0, 0], [0.5, 1, 0.5], [0.1, 1, 1]]


def test_reliability_bins_make_up_the_ece() -> None:
    truth, scores = reference_case()
    correct, top = scores.argmax(axis=1) == truth, scores.max(axis=1)
    bins = metrics.reliability(scores)
    assert sorted(np.concatenate(bins)) == list(range(200))
    assert {len(rows) for rows in bins} == {13, 14}
    gaps = [abs(top[rows].mean() - correct[rows].mean()) * len(rows) for rows in bins]
    assert sum(gaps) / 200 == pytest.approx(metrics.ece(truth, scores))
    assert len(metrics.reliability(scores[:4])) == 4


def test_equal_scores_are_one_point_of_the_curve() -> None:
    score, positive = np.array([0.9, 0.5, 0.5, 0.5, 0.1, 0.1]), np.array([True, False, True, False, True, False])
    assert metrics.roc(score, positive)[:, 0].tolist() == [math.inf, 0.9, 0.5, 0.1]
    assert metrics.roc(score, positive)[:, 1].tolist() == pytest.approx([0, 0, 2 / 3, 1])
    assert metrics.roc(score, positive)[:, 2].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert metrics.roc(score, np.ones(6, bool)).shape == (0, 3)
    assert len(metrics.roc(score, positive, most=4)) == 4  # within the limit: all are kept


def test_agreement_is_the_share_of_equal_top_classes() -> None:
    other = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    assert metrics.agreement(SCORES, other) == 0.75
