"""The drift gate on the predictions of two models: noise, damage to one class, few lesions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.stats.calibration import softmax
from spot_edge.errors import DataError
from spot_edge.model.spec import Criterion, Drift

LABELS = ("bkl", "mel", "nv")


def predictions(logits: np.ndarray, truth: np.ndarray) -> Predictions:
    return Predictions(
        labels=LABELS,
        truth=truth,
        scores=softmax(logits).astype(np.float32),
        logits=logits.astype(np.float32),
        groups=np.arange(len(truth)).astype(str),
        images=np.arange(len(truth)).astype(str),
        model={"id": "abc", "name": "m", "variant": "float32"},
        malignant=(False, True, False),
    )


def good_predictions(count: int) -> Predictions:
    """One tenth melanoma, two tenths bkl; 90 % accuracy."""
    random = np.random.default_rng(1)
    truth = np.resize(np.repeat([0, 1, 2], [2, 1, 7]), count)
    logits = random.normal(0, 0.7, (count, 3))
    logits[np.arange(count), truth] += 2.5
    return predictions(logits, truth)


def criterion(drift: Drift, name: str) -> Criterion:
    return next(found for found in drift.criteria if found.name == name)


def verdict(baseline: Predictions, logits: np.ndarray, margins: Margins = Margins()) -> Drift:  # noqa: B008 - frozen
    return evaluate_drift(compare(baseline, predictions(logits, baseline.truth), draws=100), margins, measured_on="val")


def test_equal_scores_pass_with_any_number_of_images() -> None:
    baseline = good_predictions(40)
    drift = verdict(baseline, baseline.logits + 1e-4)
    assert (drift.verdict, drift.against, drift.measured_on) == ("pass", "abc", "val")


def test_small_noise_on_many_images_passes() -> None:
    baseline = good_predictions(6000)
    noise = np.random.default_rng(0).normal(0, 0.02, baseline.logits.shape)
    drift = verdict(baseline, baseline.logits + noise)
    assert drift.verdict == "pass"
    assert {found.verdict for found in drift.criteria} == {"pass"}


def test_the_same_noise_on_few_melanomas_is_undecided() -> None:
    baseline = good_predictions(300)
    noise = np.random.default_rng(0).normal(0, 0.02, baseline.logits.shape)
    drift = verdict(baseline, baseline.logits + noise)
    found = criterion(drift, "recall mel")
    assert drift.verdict == found.verdict == "undecided"
    assert found.n == 30
    assert found.would_tell is not None
    assert found.would_tell > 30


def test_damage_to_one_class_fails_even_if_accuracy_hardly_changes() -> None:
    baseline = good_predictions(6000)
    worse = baseline.logits.copy()
    hit = np.flatnonzero(baseline.truth == 1)[::8]  # an eighth of the melanomas
    worse[hit, 1] -= 6
    before, after = (s.argmax(axis=1) == baseline.truth for s in (baseline.scores, worse))
    assert before.mean() - after.mean() < 0.015
    drift = verdict(baseline, worse)
    assert drift.verdict == "fail"
    assert criterion(drift, "recall mel").verdict == "fail"
    assert criterion(drift, "ECE").verdict != "fail"


def test_a_file_without_flips_passes_given_250_melanomas_and_43_lesions_of_every_class() -> None:
    """The scores change, the top classes do not. With fewer melanomas, no flips are no proof."""
    baseline = good_predictions(2500)
    drift = verdict(baseline, 1.05 * baseline.logits, Margins(ece=0.1))
    assert {found.verdict for found in drift.criteria} == {"pass"}
    found = criterion(drift, "recall mel")
    assert (found.worse_by, found.n) == (0, 250)
    assert found.high == -found.low == pytest.approx(1 - 0.05 ** (1 / 250))
    few = criterion(verdict(baseline.where(np.arange(2500) < 1980), 1.05 * baseline.logits[:1980]), "recall mel")
    assert (few.n, few.verdict, few.would_tell) == (198, "undecided", 199)


def test_margins_decide() -> None:
    baseline = good_predictions(3000)
    worse = baseline.logits + np.array([0, -1.2, 0])
    assert verdict(baseline, worse).verdict == "fail"
    wide = Margins(balanced_accuracy=0.5, recall={"mel": 0.5}, agreement=0.5, ece=0.5, macro_auc=0.5)
    drift = verdict(baseline, worse, wide)
    assert drift.verdict == "pass"
    assert [found.name for found in drift.criteria] == [
        *("balanced accuracy", "recall mel", "top-1 flips, all but nv", "macro AUC", "ECE")
    ]


def test_a_file_that_is_better_passes() -> None:
    baseline = good_predictions(3000)
    better = baseline.logits + 4 * np.eye(3)[baseline.truth]
    worst = verdict(baseline, better, dataclasses.replace(Margins(), agreement=0.5))
    assert criterion(worst, "recall mel").worse_by < 0
    assert criterion(worst, "recall mel").verdict == "pass"


def test_a_margin_for_an_unknown_class_is_refused() -> None:
    baseline = good_predictions(100)
    with pytest.raises(DataError, match="'melanoma', but the classes are bkl, mel, nv"):
        verdict(baseline, baseline.logits, Margins(recall={"melanoma": 0.01}))
