"""How good one model's predictions are: every figure with its 95 % interval over lesions, and the counts behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.calibration import measured_rates
from spot_bench.intervals import Estimate, bootstrap_many, proportion
from spot_bench.metrics import (
    Bools,
    Floats,
    Ints,
    accuracy,
    auc,
    balanced_accuracy,
    brier,
    class_aucs,
    confusion,
    ece,
    log_loss,
    macro_auc,
    malignant_score,
)
from spot_bench.predict import Predictions

__all__ = ["FIGURES", "compute_figures", "malignant_mask", "malignant_scores", "summarize"]

FIGURES = ("accuracy", "balanced_accuracy", "macro_auc", "malignant_auc", "ece", "brier", "log_loss")


def summarize(predictions: Predictions, figures: Sequence[Estimate] | None = None) -> dict[str, Any]:
    """The figures of one model as a JSON-able record; NaN, where a figure does not exist, is null.

    `figures` are those of FIGURES where the caller has them already.
    """
    p, mask = predictions, malignant_mask(predictions)
    if figures is None:
        figures = bootstrap_many(
            lambda truth, scores: compute_figures(truth, scores, mask), p.groups, p.truth, p.scores
        )
    return {
        "model": p.model,
        "images": len(p.truth),
        "lesions": len(np.unique(p.groups)),
        "skipped": [{"image": image, "reason": reason} for image, reason in p.skipped],
        **{name: figure.as_dict() for name, figure in zip(FIGURES, figures, strict=True)},
        "classes": _classes(p),
        "confusion": {"labels": list(p.labels), "rows": confusion(p.truth, p.scores).tolist()},
        "operating_points": _points(p),
    }


def compute_figures(truth: Ints, scores: Floats, mask: Bools) -> NDArray[np.float64]:
    """The figures named in FIGURES, in their order."""
    return np.array(
        [
            accuracy(truth, scores),
            balanced_accuracy(truth, scores),
            macro_auc(truth, scores),
            auc(mask[truth], malignant_score(scores, mask)),
            ece(truth, scores),
            brier(truth, scores),
            log_loss(truth, scores),
        ]
    )


def malignant_mask(predictions: Predictions) -> Bools:
    """Which columns are malignant; none where that is not known."""
    flags = predictions.malignant or (None,) * len(predictions.labels)
    return np.array([bool(flag) for flag in flags])


def malignant_scores(predictions: Predictions) -> tuple[NDArray[np.float64], Bools]:
    """The malignant score of every image, and whether the image is of a malignant class."""
    mask = malignant_mask(predictions)
    return malignant_score(predictions.scores, mask), mask[predictions.truth]


def _points(p: Predictions) -> dict[str, dict[str, Any]]:
    """What the model's own operating points do on these images."""
    score, positive = malignant_scores(p)
    measured = {}
    for point in p.operating_points:
        rates = measured_rates(score, positive, point.threshold, p.groups)
        named = zip(("sensitivity", "specificity"), rates, strict=True)
        measured[point.name] = {"threshold": point.threshold} | {name: rate.as_dict() for name, rate in named}
    return measured


def _classes(p: Predictions) -> dict[str, dict[str, Any]]:
    first, aucs = p.scores.argmax(axis=1), bootstrap_many(class_aucs, p.groups, p.truth, p.scores)
    records = {}
    for index, label in enumerate(p.labels):
        of_class = p.truth == index
        hits = first[of_class] == index
        recall = proportion(hits, p.groups[of_class])
        records[label] = {
            "images": recall.n,
            "lesions": recall.groups,
            "correct": int(hits.sum()),
            "recall": recall.as_dict(),
            "auc": aucs[index].as_dict(),
        }
    return records
