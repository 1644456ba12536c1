"""Write the validation report for people: Markdown tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.stats.calibration import softmax
from spot_bench.stats.metrics import malignant_score
from spot_train.labels.labelset import LabelSet
from spot_train.report.plots import confusion_svg, threshold_svg
from spot_train.report.validation import positive_classes

__all__ = ["validation_files", "validation_tables"]

_FIGURES = {
    "accuracy": "accuracy",
    "top2_accuracy": "top-2 accuracy",
    "top3_accuracy": "top-3 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "melanoma_auc": "melanoma AUC",
    "malignant_auc": "malignant AUC",
    "ece_uncalibrated": "ECE, uncalibrated",
    "brier_uncalibrated": "Brier score, uncalibrated",
}
FEW = 20  # a class with fewer groups is reported as counts
_MOST_CLASSES = 20  # in a readable confusion table


def validation_files(
    metrics: dict[str, Any], logits: NDArray[np.float32], truth: NDArray[np.int64], labels: LabelSet
) -> dict[str, str]:
    """Return the report files of a run by name, without `metrics.json`."""
    files = {"validation.md": validation_tables(metrics), "confusion.svg": confusion_svg(metrics)}
    mask = positive_classes(labels)
    if metrics["decision"] is not None and mask is not None:
        files["threshold.svg"] = threshold_svg(malignant_score(softmax(logits), mask), mask[truth], metrics["decision"])
    return files


def validation_tables(metrics: dict[str, Any]) -> str:
    """Return `metrics` as Markdown tables."""
    common = metrics["commonest_class"]
    lines = [
        "# Validation",
        "",
        f"{metrics['images']} images of {metrics['groups']} lesions or groups. Brackets: 95 % intervals over groups.",
        f"Always predicting {common['label']} would reach an accuracy of {common['accuracy']:.3f}.",
        "",
        *_table(
            ["figure", "value"],
            [[words, _estimate(metrics[name])] for name, words in _FIGURES.items() if name in metrics],
        ),
        "",
        "## Classes",
        "",
        *_table(
            ["class", "images", "groups", "correct", "recall", "precision", "specificity", "AUC"],
            [_class_row(name, record) for name, record in metrics["classes"].items()],
        ),
    ]
    names = metrics["confusion"]["labels"]
    if len(names) <= _MOST_CLASSES:
        rows = [[name, *map(str, row)] for name, row in zip(names, metrics["confusion"]["rows"], strict=True)]
        lines += ["", "## Confusions", "", "Rows are true classes, columns are top classes.", ""]
        lines += _table(["", *names], rows)
    if metrics["decision"] is not None:
        lines += ["", *_decision(metrics["decision"])]
    return "\n".join([*lines, ""])


def _class_row(name: str, record: dict[str, Any]) -> list[str]:
    counts = [name, str(record["n"]), str(record["groups"]), f"{record['correct']} of {record['n']}"]
    figures = ("recall", "precision", "specificity", "auc")
    if record["groups"] < FEW:
        return [
            *counts,
            *("too few" if figure != "specificity" else _class_figure(record, figure) for figure in figures),
        ]
    return [*counts, *(_class_figure(record, figure) for figure in figures)]


def _class_figure(record: dict[str, Any], name: str) -> str:
    low, high = record["intervals"][name]
    return _estimate({"value": record[name], "low": low, "high": high})


def _decision(decision: dict[str, Any]) -> list[str]:
    positives, negatives = decision["positives"], decision["negatives"]
    rows = [
        [
            name,
            f"{point['threshold']:.4f}",
            _estimate(point["sensitivity"]),
            _estimate(point["specificity"]),
            f"{point['accuracy']:.3f}",
            f"{point['type_1_errors']['count']} of {negatives} ({point['type_1_errors']['rate']:.3f})",
            f"{point['type_2_errors']['count']} of {positives} ({point['type_2_errors']['rate']:.3f})",
        ]
        for name, point in decision["thresholds"].items()
    ]
    return [
        f"## Is it {' or '.join(decision['positive'])}?",
        "",
        f"Yes for {positives} images of {decision['positive_groups']} lesions or groups, no for {negatives} images of "
        f"{decision['negative_groups']}. AUC {_estimate(decision['auc'])}.",
        "The thresholds apply to the uncalibrated score of the Keras network. They were tuned on these same images, so",
        "their figures here are slightly optimistic. A model file has its own thresholds.",
        "",
        *_table(
            ["", "threshold", "sensitivity", "specificity", "accuracy", "false alarms (type I)", "missed (type II)"],
            rows,
        ),
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in ([*heads], ["---"] * len(heads), *escaped)]


def _estimate(record: dict[str, Any]) -> str:
    if record["value"] is None:
        return "-"
    low, high = ("-" if record[end] is None else f"{record[end]:.3f}" for end in ("low", "high"))
    return f"{record['value']:.3f} ({low} to {high})"
