"""The rule of the drift gate: the interval, not the figure, decides the verdict of each criterion."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

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
from spot_bench.stats.exact import binomial_lower, binomial_upper, net_loss
from spot_edge.errors import DataError
from spot_edge.model.spec import Criterion, Drift, as_data

LABELS = ("bkl", "mel", "nv")


def criterion(drift: Drift, name: str) -> Criterion:
    return next(found for found in drift.criteria if found.name == name)


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
