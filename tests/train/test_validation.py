"""The validation report of a run: metrics, thresholds, tables and plots."""

from __future__ import annotations

import functools
import json
import math
from xml.etree import ElementTree

import numpy as np
import pytest

from spot_bench.stats import metrics as measures
from spot_bench.stats.calibration import softmax
from spot_train.labels.labelset import LabelSet, load_label_set, plain_label_set
from spot_train.loop.checkpoint import Epoch
from spot_train.report.page import validation_files
from spot_train.report.plots import history_svg
from spot_train.report.validation import positive_classes, validation_metrics

SEVEN = load_label_set("ham10000")


@functools.cache
def seven() -> tuple[dict, np.ndarray, np.ndarray, list[str]]:
    """The report on seven classes, and its input."""
    logits, truth, groups = case(SEVEN)
    return validation_metrics(logits, truth, groups, SEVEN), logits, truth, groups


def case(labels: LabelSet, images: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    random, number = np.random.default_rng(seed), len(labels.labels)
    truth = np.arange(images) % number
    logits = np.eye(number)[truth] * 1.5 + random.normal(size=(images, number))
    return logits.astype(np.float32), truth, [f"lesion {i // (2 * number)} {i % number}" for i in range(images)]


def test_metrics_equal_those_of_the_benchmarks() -> None:
    found, logits, truth, _ = seven()
    scores = softmax(logits)
    assert found["accuracy"]["value"] == pytest.approx(measures.accuracy(truth, scores))
    assert found["balanced_accuracy"]["value"] == pytest.approx(measures.balanced_accuracy(truth, scores))
    assert found["macro_auc"]["value"] == pytest.approx(measures.macro_auc(truth, scores))
    assert found["ece_uncalibrated"]["value"] == pytest.approx(measures.ece(truth, scores))
    assert found["brier_uncalibrated"]["value"] == pytest.approx(measures.brier(truth, scores))
    mask = np.array([bool(label.malignant) for label in SEVEN.labels])
    area = measures.auc(mask[truth], measures.malignant_score(scores, mask))
    assert found["malignant_auc"]["value"] == found["decision"]["auc"]["value"] == pytest.approx(area)
    assert found["melanoma_auc"]["value"] == pytest.approx(measures.auc(truth == 4, scores[:, 4]))
    assert found["confusion"]["rows"] == measures.confusion(truth, scores).tolist()
    for index, record in enumerate(found["classes"].values()):
        assert record["recall"] == pytest.approx(measures.recalls(truth, scores)[index])
        assert record["auc"] == pytest.approx(measures.class_aucs(truth, scores)[index])
        first = scores.argmax(axis=1) == index
        assert record["precision"] == pytest.approx((truth[first] == index).mean())
        assert record["specificity"] == pytest.approx((~first[truth != index]).mean())
        assert all(low <= record[name] <= high for name, (low, high) in record["intervals"].items())
    figures = [value for value in found.values() if isinstance(value, dict) and "low" in value]
    assert len(figures) == 9
    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in figures)


def test_ties_count_half_in_every_auc() -> None:
    labels = plain_label_set(["no", "yes"])
    logits = np.array([[0, 0], [0, 0], [1, 0], [0, 1]], np.float32)
    found = validation_metrics(logits, np.array([0, 1, 0, 1]), list("abcd"), labels)
    assert found["classes"]["yes"]["auc"] == pytest.approx(0.875)


def test_a_perfect_recall_of_few_images_has_a_wide_interval() -> None:
    labels = plain_label_set(["a", "b"])
    logits = np.array([[2, 0], [2, 0], [0, 2], [0, 2]], np.float32)
    found = validation_metrics(logits, np.array([0, 0, 1, 1]), list("abcd"), labels)
    assert found["classes"]["a"]["recall"] == 1.0
    assert found["classes"]["a"]["intervals"]["recall"][0] < 0.5


def test_thresholds_reach_what_they_are_tuned_for() -> None:
    labels = load_label_set("ham10000-malignant")
    logits, truth, groups = case(labels, 400)
    decision = validation_metrics(logits, truth, groups, labels)["decision"]
    score, positive = softmax(logits)[:, 1], truth == 1
    points = decision["thresholds"]
    for share in (90, 95):
        assert points[f"sensitivity-{share}"]["sensitivity"]["value"] >= share / 100
    best = max(sum(measures.rates_at(score, positive, value)) for value in score)
    youden = points["youden"]
    assert youden["sensitivity"]["value"] + youden["specificity"]["value"] == pytest.approx(best)
    for point in points.values():
        called = score >= point["threshold"]
        misses, alarms = point["type_2_errors"], point["type_1_errors"]
        assert (misses["count"], alarms["count"]) == ((~called & positive).sum(), (called & ~positive).sum())
        assert misses["rate"] == pytest.approx(misses["count"] / decision["positives"])
        assert alarms["rate"] == pytest.approx(alarms["count"] / decision["negatives"])
        assert point["true_positives"] + misses["count"] == decision["positives"]
        assert point["true_negatives"] + alarms["count"] == decision["negatives"]
        assert point["accuracy"] == pytest.approx((called == positive).mean())


def test_the_positive_classes_of_a_decision() -> None:
    assert positive_classes(SEVEN).tolist() == [True, True, False, False, True, False, False]
    assert positive_classes(load_label_set("ham10000-melanoma")).tolist() == [True, False]
    assert positive_classes(plain_label_set(["no", "yes"])).tolist() == [False, True]
    assert positive_classes(plain_label_set(["a", "b", "c"])) is None


def test_validation_without_any_positive_image_has_no_decision() -> None:
    labels = load_label_set("ham10000-malignant")
    logits, truth, groups = case(labels, 40)
    found = validation_metrics(logits, np.zeros_like(truth), groups, labels)
    assert found["decision"] is None
    assert found["malignant_auc"]["value"] is None
    assert found["classes"]["malignant"]["recall"] is None
    files = validation_files(found, logits, np.zeros_like(truth), labels)
    assert set(files) == {"validation.md", "confusion.svg"}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "labels",
    [SEVEN, load_label_set("ham10000-malignant"), plain_label_set([f"<finding> & {n}" for n in range(25)])],
    ids=["seven", "two", "many"],
)
def test_the_plots_are_valid_and_small(labels: LabelSet) -> None:
    logits, truth, groups = case(labels)
    found = validation_metrics(logits, truth, groups, labels)
    json.dumps(found, allow_nan=False)
    files = validation_files(found, logits, truth, labels)
    for name, content in files.items():
        assert len(content) < 60_000
        assert "nan" not in content.lower().split()
        if name.endswith(".svg"):
            assert ElementTree.fromstring(content).tag.endswith("svg")
    assert ("threshold.svg" in files) == (found["decision"] is not None)


def test_the_tables_show_the_metrics() -> None:
    found, logits, truth, _ = seven()
    page = validation_files(found, logits, truth, SEVEN)["validation.md"]
    for name, words in (("top2_accuracy", "top-2 accuracy"), ("melanoma_auc", "melanoma AUC")):
        figure = found[name]
        assert f"| {words} | {figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f}) |" in page
    assert f"Always predicting akiec would reach an accuracy of {43 / 300:.3f}." in page
    assert "## Is it akiec or bcc or mel?" in page
    assert f"{found['decision']['thresholds']['youden']['type_1_errors']['count']} of" in page


def test_the_confusion_plot_shows_every_count() -> None:
    found, logits, truth, _ = seven()
    plot = ElementTree.fromstring(validation_files(found, logits, truth, SEVEN)["confusion.svg"])
    written = [node.text for node in plot.iter() if node.tag.endswith("text")]
    for row in found["confusion"]["rows"]:
        for count in row:
            assert not count or str(count) in written


def epoch(number: int, phase: str = "all", **changes: float) -> Epoch:
    values = {"loss": 1.0 / number, "accuracy": 1 - 0.5 / number, "val_loss": 1.0, "val_balanced_accuracy": 0.5}
    return Epoch(phase, number, 9, 96, 1e-3, seconds=1.0, images_per_second=9.0, **(values | changes))


@pytest.mark.parametrize(
    "history",
    [
        [],
        [epoch(1)],
        [epoch(1, "head"), *(epoch(n) for n in range(1, 130))],
        [epoch(1), epoch(2, loss=math.nan), epoch(3, loss=math.inf)],
        [epoch(n, val_loss=None, val_balanced_accuracy=None) for n in range(1, 4)],
    ],
    ids=["none", "one", "many", "diverged", "never validated"],
)
def test_any_history_can_be_plotted(history: list[Epoch]) -> None:
    plot = history_svg(history)
    ElementTree.fromstring(plot)
    drawn = " ".join(node.get("d", "") for node in ElementTree.fromstring(plot).iter())
    assert not {"nan", "inf"} & set(drawn.split())
    validated = [e for e in history if e.val_loss is not None]
    assert ("validation" in plot) == bool(validated)
