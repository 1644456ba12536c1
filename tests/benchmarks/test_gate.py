"""The drift gate: three verdicts, by the interval and not by the figure, and for each class."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spot_bench.calibration import softmax
from spot_bench.drift import compare
from spot_bench.gate import Margins, judge_drift, margins_from
from spot_bench.predict import Predictions
from spot_edge.errors import DataError
from spot_edge.modelspec import Criterion, Drift

LABELS = ("bkl", "mel", "nv")


def answered(logits: np.ndarray, truth: np.ndarray) -> Predictions:
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


def good_answers(count: int) -> Predictions:
    """One tenth melanoma, two tenths bkl; nine in ten are right."""
    random = np.random.default_rng(1)
    truth = np.resize(np.repeat([0, 1, 2], [2, 1, 7]), count)
    logits = random.normal(0, 0.7, (count, 3))
    logits[np.arange(count), truth] += 2.5
    return answered(logits, truth)


def criterion(drift: Drift, name: str) -> Criterion:
    return next(found for found in drift.criteria if found.name == name)


def verdict(baseline: Predictions, logits: np.ndarray, margins: Margins = Margins()) -> Drift:  # noqa: B008 - frozen
    return judge_drift(compare(baseline, answered(logits, baseline.truth), draws=300), margins, measured_on="val")


def test_the_same_answers_pass_however_few_images_there_are() -> None:
    baseline = good_answers(40)
    drift = verdict(baseline, baseline.logits + 1e-4)
    assert (drift.verdict, drift.against, drift.measured_on) == ("passes", "abc", "val")


def test_small_noise_on_many_images_passes() -> None:
    baseline = good_answers(6000)
    noise = np.random.default_rng(0).normal(0, 0.02, baseline.logits.shape)
    drift = verdict(baseline, baseline.logits + noise)
    assert drift.verdict == "passes"
    assert {found.verdict for found in drift.criteria} == {"passes"}


def test_the_same_noise_on_few_melanomas_cannot_tell_and_says_how_many_would() -> None:
    baseline = good_answers(300)
    noise = np.random.default_rng(0).normal(0, 0.1, baseline.logits.shape)
    drift = verdict(baseline, baseline.logits + noise)
    found = criterion(drift, "recall mel")
    assert drift.verdict == found.verdict == "cannot tell"
    assert found.n == 30
    assert found.would_tell is not None
    assert found.would_tell > 30


def test_damage_to_one_class_fails_though_accuracy_hardly_moves() -> None:
    baseline = good_answers(6000)
    worse = baseline.logits.copy()
    hit = np.flatnonzero(baseline.truth == 1)[::8]  # an eighth of the melanomas
    worse[hit, 1] -= 6
    before, after = (s.argmax(axis=1) == baseline.truth for s in (baseline.scores, worse))
    assert before.mean() - after.mean() < 0.015
    drift = verdict(baseline, worse)
    assert drift.verdict == "fails"
    assert criterion(drift, "recall mel").verdict == "fails"
    assert criterion(drift, "ECE").verdict != "fails"


def test_margins_decide() -> None:
    baseline = good_answers(3000)
    worse = baseline.logits + np.array([0, -1.2, 0])
    assert verdict(baseline, worse).verdict == "fails"
    wide = Margins(balanced_accuracy=0.5, recall={"mel": 0.5}, agreement=0.5, ece=0.5, macro_auc=0.5)
    assert verdict(baseline, worse, wide).verdict == "passes"
    assert [found.name for found in verdict(baseline, worse, wide).criteria] == [
        *("balanced accuracy", "recall mel", "other first rank, all but nv", "macro AUC", "ECE")
    ]


def test_a_file_that_is_better_passes() -> None:
    baseline = good_answers(3000)
    better = baseline.logits + 4 * np.eye(3)[baseline.truth]
    worst = verdict(baseline, better, dataclasses.replace(Margins(), agreement=0.5))
    assert criterion(worst, "recall mel").worse_by < 0
    assert criterion(worst, "recall mel").verdict == "passes"


def test_a_margin_for_a_class_that_is_not_there_is_an_error() -> None:
    baseline = good_answers(100)
    with pytest.raises(DataError, match="'melanoma', but the classes are bkl, mel, nv"):
        verdict(baseline, baseline.logits, Margins(recall={"melanoma": 0.01}))


@pytest.mark.parametrize(
    "table", [[], {"ece": "small"}, {"ece": 2}, {"ecce": 0.1}, {"recall": {"mel": True}}, {"agreement": -1}]
)
def test_a_table_that_is_no_margins_is_refused(table: object) -> None:
    with pytest.raises(DataError, match=r"recipe\.toml: "):
        margins_from(table, "recipe.toml")


def test_margins_are_read_from_a_recipes_table() -> None:
    assert margins_from({"recall": {"bcc": 0.02}, "ece": 0.02}, "x") == Margins(recall={"bcc": 0.02}, ece=0.02)
