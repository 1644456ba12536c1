"""The drift gate: the interval, not the figure, decides the verdict, also for single classes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift, margins_from
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
    noise = np.random.default_rng(0).normal(0, 0.1, baseline.logits.shape)
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


@pytest.mark.parametrize(
    "table", [[], {"ece": "small"}, {"ece": 2}, {"ecce": 0.1}, {"recall": {"mel": True}}, {"agreement": -1}]
)
def test_a_bad_table_of_margins_is_refused(table: object) -> None:
    with pytest.raises(DataError, match=r"recipe\.toml: "):
        margins_from(table, "recipe.toml")


def test_margins_are_read_from_a_recipes_table() -> None:
    assert margins_from({"recall": {"bcc": 0.02}, "ece": 0.02}, "x") == Margins(recall={"bcc": 0.02}, ece=0.02)


def estimate(value: float | None, low: float | None, high: float | None, groups: int = 100) -> dict[str, object]:
    return {"value": value, "low": low, "high": high, "groups": groups}


def compared(**changes: object) -> dict[str, object]:
    """A comparison reduced to what the gate reads. Without changes every criterion passes."""
    same = estimate(0.0, -0.001, 0.001)
    differences = {name: changes.get(name, same) for name in ("balanced_accuracy", "macro_auc", "ece")}
    return {
        "baseline": {"model": {"id": "abc"}, "classes": {name: {"lesions": 40} for name in LABELS}},
        "differences": differences | {"recall": {name: changes.get(f"recall_{name}", same) for name in LABELS}},
        "agreement": {
            "all": estimate(0.5, 0.4, 0.6),
            "all but nv": changes.get("agreement", estimate(0.98, 0.97, 0.99)),
        },
        "largest_score_difference": changes.get("largest", 0.2),
    }


def decided(margins: Margins = Margins(), **changes: object) -> Drift:  # noqa: B008 - frozen
    return evaluate_drift(compared(**changes), margins, measured_on="val")


def test_each_criterion_states_the_loss() -> None:
    drift = decided(
        balanced_accuracy=estimate(-0.004, -0.009, 0.001, 70),
        recall_mel=estimate(0.002, -0.01, 0.012, 70),
        agreement=estimate(0.98, 0.96, 0.99, 30),
        macro_auc=estimate(-0.003, -0.005, -0.001),
        ece=estimate(0.001, -0.002, 0.004),
    )
    assert [tuple(found) for found in drift.criteria] == [
        ("balanced accuracy", 0.004, -0.001, 0.009, 0.01, 70, "pass", None),
        ("recall mel", -0.002, -0.012, 0.01, 0.015, 40, "pass", None),
        (
            "top-1 flips, all but nv",
            pytest.approx(0.02),
            pytest.approx(0.01),
            pytest.approx(0.04),
            0.05,
            30,
            "pass",
            None,
        ),
        ("macro AUC", 0.003, 0.001, 0.005, 0.01, 100, "pass", None),
        ("ECE", 0.001, -0.002, 0.004, 0.01, 100, "pass", None),
    ]
    assert drift.verdict == "pass"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.01, "pass"),  # the bad end lies on the margin
        (0.001, 0.0101, "undecided"),
        (0.01, 0.02, "undecided"),  # the good end lies on the margin
        (0.0101, 0.02, "fail"),
    ],
)
def test_the_interval_decides_and_its_ends_count_as_inside(low: float, high: float, expected: str) -> None:
    drift = decided(ece=estimate((low + high) / 2, low, high))
    assert drift.verdict == criterion(drift, "ECE").verdict == expected


@pytest.mark.parametrize(
    ("value", "low", "high", "lesions"),
    [
        (0.005, -0.015, 0.025, 1600),  # the bad end is four times as far as the margin: 16 times the lesions
        (0.015, 0.005, 0.025, 400),  # the good end is twice as far
        (0.012, -0.008, 0.02, 10_000),
        (0.016, 0.002, 0.025, 545),  # 544.4
        (0.01, 0.0, 0.02, None),  # no number of lesions moves the margin out of an interval around it
        (0.009, -0.02, 0.04, None),  # 31 times as far: about a thousand times the lesions
    ],
)
def test_an_undecided_criterion_estimates_the_lesions_needed(
    value: float, low: float, high: float, lesions: int | None
) -> None:
    found = criterion(decided(ece=estimate(value, low, high)), "ECE")
    assert found.verdict == "undecided"
    assert found.would_tell in {lesions, lesions and lesions + 1}  # rounded up, once more where a float is just above


def test_a_thousand_times_the_lesions_are_no_advice() -> None:
    wide = Margins(ece=0.25)
    assert criterion(decided(wide, ece=estimate(0.125, -1.0, 3.875)), "ECE").would_tell is None  # 30 times as far
    assert criterion(decided(wide, ece=estimate(0.125, -1.0, 3.75)), "ECE").would_tell == 84_100  # 29 times


@pytest.mark.parametrize("missing", ["value", "low", "high"])
def test_a_missing_figure_is_undecided(missing: str) -> None:
    known = estimate(0.001, -0.002, 0.004) | {missing: None}
    assert tuple(criterion(decided(ece=known), "ECE"))[1:] == (0.0, -1.0, 1.0, 0.01, 100, "undecided", None)
    nothing = estimate(None, 0.0, 1.0)
    assert criterion(decided(agreement=nothing), "top-1 flips, all but nv").verdict == "undecided"
    assert criterion(decided(macro_auc=estimate(None, None, None)), "macro AUC").verdict == "undecided"


def test_the_worst_criterion_decides_unless_the_scores_are_the_same() -> None:
    doubt, damage = estimate(0.0, -0.1, 0.1), estimate(-0.2, -0.3, -0.1)
    assert decided(macro_auc=doubt).verdict == "undecided"
    assert decided(macro_auc=doubt, balanced_accuracy=damage).verdict == "fail"
    assert decided(balanced_accuracy=damage, largest=0.0051).verdict == "fail"
    assert decided(balanced_accuracy=damage, largest=0.005).verdict == "pass"


def test_melanoma_has_a_margin_unless_a_recipe_names_others() -> None:
    assert criterion(decided(), "recall mel").margin == 0.015
    own = decided(Margins(recall={"bkl": 0.1, "nv": 0.2}))
    assert [(found.name, found.margin) for found in own.criteria if found.name.startswith("recall")] == [
        ("recall bkl", 0.1),
        ("recall nv", 0.2),
    ]


def test_margins_from_zero_to_one_are_read() -> None:
    assert margins_from({"ece": 0, "agreement": 1}, "x") == Margins(ece=0, agreement=1)
    assert margins_from({}, "x") == Margins(0.01, {}, 0.95, 0.01, 0.01)
    every = {"balanced_accuracy": 0.1, "recall": {"mel": 0.2}, "agreement": 0.3, "ece": 0.4, "macro_auc": 0.5}
    assert margins_from(every, "x") == Margins(0.1, {"mel": 0.2}, 0.3, 0.4, 0.5)
