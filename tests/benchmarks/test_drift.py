"""Summaries and comparisons of made-up predictions with known results."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_bench.drift import comparison as drift
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.drift.lines import model_lines
from spot_bench.drift.summary import FIGURES, SHARES, summarize
from spot_bench.stats.calibration import operating_points, softmax
from spot_edge.errors import DataError
from spot_edge.model.spec import Conformal, SetThreshold, as_data

LABELS = ("bkl", "mel", "nv", "vasc")
MALIGNANT = (False, True, False, False)


def compare(baseline: Predictions, other: Predictions) -> dict[str, Any]:
    """Compare with fewer resamples than by default, because the tests need no precision."""
    return drift.compare(baseline, other, draws=200)


def lines_of(comparison: dict[str, Any]) -> list[str]:
    verdict = as_data(evaluate_drift(comparison, Margins(), measured_on="made up"))
    return list(model_lines({"verdict": verdict, **comparison, "subgroups": {}}))


def scored(logits: np.ndarray) -> dict[str, Any]:
    return {"logits": logits.astype(np.float32), "scores": softmax(logits).astype(np.float32)}


@pytest.fixture(scope="module")
def baseline() -> Predictions:
    """600 images of 300 lesions, 15 of them vascular; accuracy is about 80 %."""
    random = np.random.default_rng(0)
    truth = np.repeat(random.permutation(np.repeat([0, 1, 2, 3], [60, 45, 180, 15])), 2)
    logits = random.normal(0, 1, (600, 4))
    logits[np.arange(600), truth] += 2.2
    groups = np.array([f"lesion-{row // 2}" for row in range(600)])
    outputs = scored(logits)
    return Predictions(
        labels=LABELS,
        truth=truth,
        groups=groups,
        images=np.array([f"{row}.jpg" for row in range(600)]),
        model={"name": "toy", "variant": "float32", "id": "0", "runtime": "ai-edge-litert", "version": "2"},
        malignant=MALIGNANT,
        operating_points=operating_points(MALIGNANT, outputs["scores"], truth, groups, measured_on="made up"),
        **outputs,
    )


def test_identical_models_do_not_differ(baseline: Predictions) -> None:
    report = compare(baseline, baseline)
    assert report["schema"] == 1
    differences = report["differences"]
    estimates = [
        *(differences[name] for name in FIGURES),
        *(rate for point in differences["operating_points"].values() for rate in point.values()),
        report["mean_abs_logit_difference"],
        report["kl"],
    ]
    assert all((e["value"], e["low"], e["high"]) == (0, 0, 0) for e in estimates)
    recall = differences["recall"].values()  # no difference in a few lesions is not certainty
    assert all(e["value"] == 0 and 0 < e["high"] == -e["low"] < 1 for e in recall)
    assert list(differences["operating_points"]) == ["sensitivity-90", "sensitivity-95"]
    assert report["agreement"]["all"]["value"] == 1.0
    assert report["flips"] == []
    assert report["largest_logit_difference"] == 0


def test_a_damaged_class_shows(baseline: Predictions) -> None:
    logits = baseline.logits.copy()
    logits[:, 1] -= 3  # the other model hardly ever predicts melanoma
    report = compare(baseline, replace(baseline, **scored(logits)))
    recall = report["differences"]["recall"]
    assert recall["mel"]["high"] < -0.5
    assert all(recall[label]["low"] >= -0.02 for label in ("bkl", "nv", "vasc"))
    assert report["differences"]["balanced_accuracy"]["high"] < 0
    assert report["differences"]["operating_points"]["sensitivity-90"]["sensitivity"]["high"] < 0
    assert report["differences"]["operating_points"]["sensitivity-90"]["specificity"]["low"] > 0
    agreement = report["agreement"]
    assert agreement["classes"]["mel"]["value"] < 0.5 < agreement["classes"]["nv"]["value"]
    assert agreement["all but nv"]["value"] < agreement["all"]["value"]
    assert agreement["all but nv"]["n"] == int((baseline.truth != 2).sum())
    assert report["mean_abs_logit_difference"]["value"] == pytest.approx(0.75, abs=1e-6)
    assert report["largest_logit_difference"] == pytest.approx(3, abs=1e-5)
    assert report["kl"]["value"] > 0


def test_flips_are_listed_worst_first(baseline: Predictions) -> None:
    top = baseline.scores.argmax(axis=1)
    missed = np.flatnonzero((baseline.truth == 1) & (top == 1))[:2]
    repaired = np.flatnonzero((baseline.truth == 2) & (top == 0))[:1]
    broken = np.flatnonzero((baseline.truth == 2) & (top == 2))[:2]
    logits = baseline.logits.copy()
    logits[missed] = logits[repaired] = [0, 0, 9, 0]
    logits[broken] = [9, 0, 0, 0]
    flips = compare(baseline, replace(baseline, **scored(logits)))["flips"]
    assert [flip["effect"] for flip in flips] == ["malignancy lost"] * 2 + ["now wrong"] * 2 + ["now right"]
    assert {flip["image"] for flip in flips} == {f"{row}.jpg" for row in (*missed, *repaired, *broken)}
    for higher, lower in (flips[:2], flips[2:4]):
        assert higher["baseline"]["score"] >= lower["baseline"]["score"]
    for flip in flips:
        row = int(flip["image"].removesuffix(".jpg"))
        assert flip["label"] == LABELS[baseline.truth[row]]
        assert flip["baseline"]["label"] == LABELS[top[row]]
        assert flip["baseline"]["label"] != flip["other"]["label"]


def test_columns_are_matched_by_label(baseline: Predictions) -> None:
    order = [2, 0, 3, 1]
    reordered = replace(
        baseline,
        labels=tuple(LABELS[index] for index in order),
        malignant=tuple(MALIGNANT[index] for index in order),
        truth=np.argsort(order)[baseline.truth],
        logits=baseline.logits[:, order],
        scores=baseline.scores[:, order],
    )
    report = compare(baseline, reordered)
    assert report["flips"] == []
    assert report["other"] == report["baseline"]


def test_summary_counts_images_and_lesions(baseline: Predictions) -> None:
    summary = summarize(baseline, draws=200)
    assert (summary["images"], summary["lesions"]) == (600, 300)
    vasc = summary["classes"]["vasc"]
    assert (vasc["images"], vasc["lesions"]) == (30, 15)
    assert vasc["recall"]["value"] == vasc["correct"] / 30
    assert sum(map(sum, summary["confusion"]["rows"])) == 600
    assert summary["accuracy"]["groups"] == 300
    point = summary["operating_points"]["sensitivity-90"]
    assert point["sensitivity"]["groups"] == 45
    assert point["specificity"]["groups"] == 255
    assert summary == compare(baseline, baseline)["baseline"]


def test_summary_has_the_figures_of_a_report(baseline: Predictions) -> None:
    top, truth = baseline.scores.argmax(axis=1), baseline.truth
    thresholds = Conformal(SetThreshold(0.9, 0.1, 300), {"mel": SetThreshold(0.95, 0.0, 45)}, "made up")
    summary = summarize(replace(baseline, conformal=thresholds), draws=50)
    mel = summary["classes"]["mel"]
    assert mel["precision"]["value"] == (truth[top == 1] == 1).mean()
    assert mel["precision"]["n"] == (top == 1).sum()
    assert mel["specificity"]["value"] == (top[truth != 1] != 1).mean()
    assert summary["accuracy"]["value"] < summary["top2_accuracy"]["value"] < summary["top3_accuracy"]["value"] < 1
    assert [found["share"] for found in summary["selective"]] == pytest.approx(SHARES, abs=0.01)
    assert summary["selective"][0]["accuracy"] == summary["accuracy"]
    assert len(summary["reliability"]) == 15
    assert all(found["accuracy"]["n"] == 40 for found in summary["reliability"])
    assert len(summary["roc"]) <= 200
    assert summary["roc"][0] == {"threshold": None, "false_positive_rate": 0, "sensitivity": 0}
    point = summary["operating_points"]["sensitivity-90"]
    missed, alarms = point["type_2_errors"], point["type_1_errors"]
    assert (missed["of"], alarms["of"]) == (90, 510)
    assert 1 - missed["count"] / missed["of"] == pytest.approx(point["sensitivity"]["value"])
    assert 1 - alarms["count"] / alarms["of"] == pytest.approx(point["specificity"]["value"])
    sets = summary["conformal"]
    members = baseline.scores >= np.float32(0.1)
    assert sets["marginal"]["covered"]["value"] == members[np.arange(600), truth].mean()
    assert sets["marginal"]["size"]["value"] == pytest.approx(members.sum() / 600)
    assert sets["classes"]["mel"]["covered"]["value"] == 1  # its own threshold is 0
    assert (sets["classes"]["mel"]["target"], sets["classes"]["nv"]["target"]) == (0.95, 0.9)
    assert sets["by_class"]["size"]["value"] > sets["marginal"]["size"]["value"]
    json.dumps(summary, allow_nan=False)


def test_lost_and_gained_images_are_counted(baseline: Predictions) -> None:
    logits = baseline.logits.copy()
    logits[:, 1] -= 3
    other = replace(baseline, **scored(logits))
    found = compare(baseline, other)["mcnemar"]
    before, after = (model.scores.argmax(axis=1) == baseline.truth for model in (baseline, other))
    assert found["all"]["images"]["lost"] == (before & ~after).sum()
    assert found["all"]["images"]["gained"] == (after & ~before).sum()
    assert found["classes"]["mel"]["lesions"]["p"] < 1e-6
    assert sum(test["images"]["lost"] for test in found["classes"].values()) == found["all"]["images"]["lost"]


def test_a_data_set_without_malignancy_is_summarized(baseline: Predictions) -> None:
    plain = replace(baseline, malignant=(), operating_points=(), model={})
    report = compare(plain, plain)
    assert report["baseline"]["malignant_auc"]["value"] is None
    assert report["differences"]["operating_points"] == {}
    lines = "\n".join(lines_of(report))
    assert "malignant" not in lines


def test_a_split_without_malignant_images_is_compared(baseline: Predictions) -> None:
    benign = baseline.truth != 1
    names = ("truth", "scores", "logits", "groups", "images")
    part = replace(baseline, **{name: getattr(baseline, name)[benign] for name in names})
    report = compare(part, part)
    assert report["differences"]["operating_points"] == {}
    assert report["baseline"]["operating_points"]["sensitivity-90"]["sensitivity"]["value"] is None
    assert report["baseline"]["operating_points"]["sensitivity-90"]["specificity"]["value"] > 0
    json.dumps(report, allow_nan=False)
    assert "  mel" not in "\n".join(lines_of(report))


def test_reports_are_json(baseline: Predictions) -> None:
    report = compare(baseline, baseline)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"images": np.array([f"x{row}.jpg" for row in range(600)])}, "not run on the same images"),
        ({"truth": np.zeros(600, int)}, "images with different labels"),
        ({"labels": ("bkl", "mel", "nv", "scc")}, "toy float32 has the labels bkl, mel, nv, scc"),
    ],
)
def test_other_images_or_labels_are_refused(baseline: Predictions, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        compare(baseline, replace(baseline, **change))


def test_terminal_shows_few_lesions_as_counts(baseline: Predictions) -> None:
    logits = baseline.logits.copy()
    logits[:, 1] -= 3
    lines = lines_of(compare(baseline, replace(baseline, **scored(logits))))
    (vasc,) = [line for line in lines if line.startswith("vasc")]
    (nv,) = [line for line in lines if line.startswith("nv")]
    assert " of 30" in vasc
    assert " to " in nv
    assert any(line.startswith("sensitivity-90: sensitivity") for line in lines)
    assert any("images flip, worst first" in line for line in lines)
    assert max(map(len, lines)) <= 120
