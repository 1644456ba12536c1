"""The drift gate: the interval, not the figure, decides the verdict, also for single classes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import (
    PRESETS,
    Margins,
    counts_of,
    evaluate_drift,
    margins_from,
    more_images,
    resolved,
    zero_statement,
)
from spot_bench.stats.calibration import softmax
from spot_bench.stats.exact import binomial_lower, binomial_upper, net_loss
from spot_edge.errors import DataError
from spot_edge.model.spec import Criterion, Drift, as_data

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


def net(lost: int, gained: int, lesions: int) -> dict[str, Any]:
    return net_loss(*(np.array([count]) for count in (lost, gained, lesions)))._asdict()


def compared(**changes: Any) -> dict[str, Any]:
    """A comparison reduced to what the gate reads. Without changes every criterion passes."""
    same = estimate(0.0, -0.001, 0.001)
    recall = dict.fromkeys(LABELS, (0, 0, 1000)) | changes.get("recall", {})
    flipped, lesions = changes.get("flips", (0, 2000))
    flips = {"low": binomial_lower(flipped, lesions), "high": binomial_upper(flipped, lesions)}
    flips |= {"value": flipped / max(lesions, 1), "flipped": flipped, "lesions": lesions}
    balanced = net_loss(*np.array(list(recall.values())).T)._asdict()
    return {
        "baseline": {"model": {"id": "abc"}, "classes": {name: {} for name in LABELS}},
        "differences": {name: changes.get(name, same) for name in ("macro_auc", "ece")},
        "exact": {
            "balanced_accuracy": balanced | {"rarest": "bkl", "rarest_lesions": 1000},
            "recall": {name: net(*counts) for name, counts in recall.items()},
            "malignant_recall": changes.get("malignant", net(0, 0, 1000)),
            "flips": {"all": flips | {"low": 0.5, "high": 0.9}, "all but nv": flips},
        },
        "largest_score_difference": changes.get("largest", 0.2),
    }


def decided(margins: Margins = Margins(), **changes: Any) -> Drift:  # noqa: B008 - frozen
    return evaluate_drift(compared(**changes), margins, measured_on="val")


def test_each_criterion_states_the_loss_and_its_bounds() -> None:
    drift = decided(
        recall={"mel": (2, 4, 800)},
        flips=(20, 1000),
        macro_auc=estimate(-0.003, -0.005, -0.001),
        ece=estimate(0.001, -0.002, 0.004),
    )
    balanced, mel, flips, *resampled = drift.criteria
    assert mel.name == "recall mel"
    assert mel.worse_by == pytest.approx(-2 / 800)
    assert mel.low < mel.worse_by < mel.high < 0.015
    assert (mel.margin, mel.n, mel.verdict, mel.would_tell) == (0.015, 800, "pass", None)
    assert (balanced.name, balanced.n, balanced.verdict) == ("balanced accuracy", 2800, "pass")
    assert balanced.worse_by == pytest.approx(-2 / 800 / 3)
    assert flips.name == "top-1 flips, all but nv"
    assert (flips.worse_by, flips.n) == (0.02, 1000)
    assert (flips.low, flips.high) == (binomial_lower(20, 1000), binomial_upper(20, 1000))
    assert [tuple(found) for found in resampled] == [
        ("macro AUC", 0.003, 0.001, 0.005, 0.01, 100, "pass", None),
        ("ECE", 0.001, -0.002, 0.004, 0.01, 100, "pass", None),
    ]
    assert drift.verdict == "pass"


@pytest.mark.parametrize(("flipped", "expected"), [(38, "pass"), (39, "undecided"), (62, "undecided"), (63, "fail")])
def test_flips_are_decided_by_the_exact_test(flipped: int, expected: str) -> None:
    """Of 1,000 lesions with a true share of 5 %, at most 38, or at least 63, flip with a probability below 5 %."""
    found = criterion(decided(flips=(flipped, 1000)), "top-1 flips, all but nv")
    assert found.verdict == expected
    assert (found.would_tell is not None) == (expected == "undecided")


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


def test_the_lesions_needed_decide_if_the_shares_stay_the_same() -> None:
    found = criterion(decided(recall={"mel": (4, 2, 200)}), "recall mel")
    assert (found.verdict, found.n) == ("undecided", 200)
    assert found.would_tell is not None
    times = found.would_tell / 200
    more = {"mel": (round(4 * times), round(2 * times), found.would_tell)}
    assert criterion(decided(recall=more), "recall mel").verdict == "pass"
    fewer = {"mel": (round(2 * times), round(times), found.would_tell // 2)}
    assert criterion(decided(recall=fewer), "recall mel").verdict == "undecided"
    assert criterion(decided(recall={"mel": (3, 0, 200)}), "recall mel").would_tell is None  # on the margin
    assert criterion(decided(recall={"mel": (0, 0, 0)}), "recall mel").would_tell is None


def test_a_thousand_times_the_lesions_are_no_advice() -> None:
    wide = Margins(ece=0.25)
    assert criterion(decided(wide, ece=estimate(0.125, -1.0, 3.875)), "ECE").would_tell is None  # 30 times as far
    assert criterion(decided(wide, ece=estimate(0.125, -1.0, 3.75)), "ECE").would_tell == 84_100  # 29 times


@pytest.mark.parametrize("missing", ["value", "low", "high"])
def test_a_missing_figure_is_undecided(missing: str) -> None:
    known = estimate(0.001, -0.002, 0.004) | {missing: None}
    assert tuple(criterion(decided(ece=known), "ECE"))[1:] == (0.0, -1.0, 1.0, 0.01, 100, "undecided", None)
    assert criterion(decided(flips=(0, 0)), "top-1 flips, all but nv").verdict == "undecided"
    assert criterion(decided(macro_auc=estimate(None, None, None)), "macro AUC").verdict == "undecided"


def test_the_worst_criterion_decides_unless_the_scores_are_the_same() -> None:
    doubt, damage = estimate(0.0, -0.1, 0.1), estimate(0.2, 0.1, 0.3)
    assert decided(macro_auc=doubt).verdict == "undecided"
    assert decided(macro_auc=doubt, ece=damage).verdict == "fail"
    assert decided(ece=damage, largest=0.0051).verdict == "fail"
    assert decided(ece=damage, largest=0.005).verdict == "pass"


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


def test_a_margin_of_one_leaves_a_criterion_out() -> None:
    none = decided(Margins(1, {"mel": 1.0}, 0, 1, 1, 1))
    assert (none.criteria, none.verdict) == ((), "pass")
    assert [found.name for found in decided(Margins(malignant_recall=0.5)).criteria][1] == "malignant recall"


@pytest.mark.parametrize(
    ("preset", "names"),
    [
        ("screening", ["malignant recall", "top-1 flips, all but nv", "macro AUC", "ECE"]),
        ("strict", ["balanced accuracy", "malignant recall", "top-1 flips, all but nv", "macro AUC", "ECE"]),
        ("any-images", ["balanced accuracy", "top-1 flips, all but nv", "macro AUC", "ECE"]),
    ],
)
def test_a_preset_chooses_the_criteria(preset: str, names: list[str]) -> None:
    margins = resolved(margins_from({"preset": preset, "data": ["more"]}, "x"))
    assert margins == dataclasses.replace(PRESETS[preset], data=("more",))
    assert [found.name for found in decided(margins).criteria] == names
    assert decided(Margins(preset=preset)).criteria == decided(margins).criteria


def test_screening_needs_a_malignant_class() -> None:
    with pytest.raises(DataError, match=r"no image is of a malignant class\. Choose the margins any-images"):
        decided(PRESETS["screening"], malignant=None)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"preset": "lenient"}, "no preset 'lenient'. The presets are screening, strict, any-images"),
        ({"preset": "strict", "ece": 0.02}, "the preset strict sets ece. Remove one of the two"),
        ({"data": "more"}, "gate.data must be a list of names"),
        ({"data": ["a"], "unlabelled": ["a"]}, "names 'a' both as labelled and as unlabelled"),
    ],
)
def test_a_bad_preset_or_name_is_refused(table: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        margins_from(table, "recipe.toml")


def test_counts_and_zero_are_stated() -> None:
    comparison = compared(recall={"mel": (2, 1, 500)}, flips=(0, 250))
    criteria = evaluate_drift(comparison, Margins(), measured_on="val").criteria
    said = {found.name: counts_of(comparison, found.name) for found in criteria}
    assert said["recall mel"] == "2 lost, 1 gained"
    assert (said["top-1 flips, all but nv"], said["ECE"]) == ("0 flipped", "")
    zero = {found.name: zero_statement(comparison, as_data(found)) for found in criteria}
    assert zero["top-1 flips, all but nv"] == "top-1 flips, all but nv: 0 of 250 lesions flipped: at most 1.2 %"
    assert (zero["recall mel"], zero["macro AUC"]) == ("", "")
    assert counts_of({"verdict": {}}, "recall mel") == ""  # a report of before these counts


def test_one_line_says_how_many_images_would_decide() -> None:
    comparison = compared(recall={"mel": (0, 0, 61), "bkl": (0, 0, 20)}, macro_auc=estimate(0, -0.4, 0.4))
    comparison["exact"]["balanced_accuracy"] |= {"rarest": "bkl", "rarest_lesions": 20}
    verdict = as_data(evaluate_drift(comparison, Margins(), measured_on="val"))
    said = more_images(comparison | {"verdict": verdict})
    assert "(of the rarest class, bkl, 100), recall mel 199, macro AUC more than 900 times as many" in said
    assert said.endswith("--unlabelled FOLDER")
