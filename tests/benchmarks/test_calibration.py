"""Temperature and operating points."""

from __future__ import annotations

import numpy as np
import pytest

from spot_bench.stats.calibration import fit_temperature, measured_point, operating_points, softmax
from spot_bench.stats.metrics import log_loss, malignant_score, rates_at
from spot_edge.errors import DataError
from spot_edge.model.spec import ImageSpec, Label, MeasuredIn, ModelSpec
from spot_edge.model.spec_json import parse_spec, render_spec

MALIGNANT = (True, False, None)


def sample(logits: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw classes with the probabilities of the logits."""
    draws = np.random.default_rng(seed).random(len(logits))[:, None]
    return np.asarray(np.minimum((softmax(logits).cumsum(axis=1) < draws).sum(axis=1), logits.shape[1] - 1))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_true_temperature_is_recovered(temperature: float) -> None:
    logits = np.random.default_rng(1).normal(0, 2, (20_000, 5))
    assert fit_temperature(logits * temperature, sample(logits)) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_is_better() -> None:
    logits = np.random.default_rng(2).normal(0, 2, (300, 4))
    truth = sample(3 * logits)
    found = fit_temperature(logits, truth)
    best = log_loss(truth, softmax(logits, found))
    for other in (*np.geomspace(0.05, 20, 400), found * 0.999, found * 1.001):
        assert best <= log_loss(truth, softmax(logits, float(other))) + 1e-12


def test_temperature_stays_within_its_limits() -> None:
    logits = np.eye(3)[[0, 1, 2]]
    assert fit_temperature(logits, np.array([0, 1, 2])) == pytest.approx(0.05, rel=1e-6)
    assert fit_temperature(logits, np.array([1, 2, 0])) == pytest.approx(20, rel=1e-6)


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[5000.0, -5000.0], [-5000.0, 5000.0], [5000.0, -5000.0]])
    assert fit_temperature(logits, np.array([0, 1, 1])) == pytest.approx(20, rel=1e-6)


def test_temperature_needs_images() -> None:
    with pytest.raises(DataError, match="no image"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, int))


def three_classes(images: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (images, 3))
    return softmax(logits).astype(np.float32), sample(logits), np.arange(images) // 2


def test_operating_points_reach_their_sensitivity() -> None:
    scores, truth, groups = three_classes()
    points = operating_points(MALIGNANT, scores, truth, groups, measured_on="validation")
    assert [point.name for point in points] == ["sensitivity-90", "sensitivity-95"]
    assert points[0].threshold > points[1].threshold
    score, positive = malignant_score(scores, np.array([True, False, False])), truth == 0
    for point, wanted in zip(points, (0.90, 0.95), strict=True):
        assert (point.sensitivity.value, point.specificity.value) == rates_at(score, positive, point.threshold)
        assert wanted <= point.sensitivity.value < wanted + 0.01
        assert point.sensitivity.low < point.sensitivity.value < point.sensitivity.high
        assert point.sensitivity.n == len(set(groups[positive]))
        assert point.specificity.n == len(set(groups[~positive]))
        assert point.measured_on == "validation"


def test_operating_points_fit_into_a_model_file() -> None:
    scores, truth, groups = three_classes()
    labels = tuple(Label(name, name, malignant=flag) for name, flag in zip("abc", MALIGNANT, strict=True))
    points = operating_points(MALIGNANT, scores, truth, groups, measured_on="validation")
    spec = ModelSpec("toy", "int8", labels, ImageSpec(96), MeasuredIn("ai-edge-litert", "2"), 1.0, {}, points)
    assert parse_spec(render_spec(spec), "toy").operating_points == points


@pytest.mark.parametrize(
    ("malignant", "keep"),
    [
        ((False, False, None), "all"),
        ((True, True, True), "all"),
        (MALIGNANT, "benign"),
        (MALIGNANT, "malignant"),
    ],
)
def test_no_operating_points_without_malignant_and_benign_images(malignant: tuple[bool | None, ...], keep: str) -> None:
    scores, truth, groups = three_classes()
    rows = {"all": truth >= 0, "benign": truth != 0, "malignant": truth == 0}[keep]
    assert operating_points(malignant, scores[rows], truth[rows], groups[rows], measured_on="x") == ()


def test_a_threshold_is_measured_on_other_images() -> None:
    scores, truth, groups = three_classes()
    (point, _) = operating_points(MALIGNANT, scores[:200], truth[:200], groups[:200], measured_on="validation")
    there = measured_point(
        point.name, point.threshold, MALIGNANT, scores[200:], truth[200:], groups[200:], measured_on="test"
    )
    assert there.threshold == point.threshold
    assert there.measured_on == "test"
    assert there.sensitivity != point.sensitivity
    with pytest.raises(DataError, match="test: measuring"):
        measured_point(point.name, 0.5, MALIGNANT, scores, np.ones(400, int), groups, measured_on="test")


def test_a_sensitivity_of_one_has_an_interval() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8]])
    (point,) = operating_points((True, False), scores, np.array([0, 0, 1, 1]), list("abcd"), [0.9], measured_on="x")
    assert point.sensitivity.value == 1.0
    assert point.sensitivity.low < 0.5


def test_a_threshold_is_at_most_one_even_if_scores_add_up_to_more() -> None:
    scores = np.array([[0.6, 0.4 + 1e-7, 0.0], [0.6, 0.4 + 1e-7, 0.0], [0.1, 0.1, 0.8], [0.2, 0.1, 0.7]])
    (point,) = operating_points(
        (True, True, False), scores, np.array([0, 1, 2, 2]), list("abcd"), [0.9], measured_on="x"
    )
    assert point.threshold == 1.0
    assert point.sensitivity.value == 1.0


def test_softmax_of_large_logits_is_exact() -> None:
    assert softmax(np.array([[1000.0, 0.0], [-1000.0, -1000.0]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert softmax(np.array([[2.0, 0.0]]), 2.0)[0, 0] == pytest.approx(1 / (1 + np.exp(-1)))
