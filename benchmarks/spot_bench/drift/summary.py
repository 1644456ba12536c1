"""Summarize one model's predictions: figures with 95 % intervals over lesions, and the counts behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.stats.calibration import measured_rates
from spot_bench.stats.conformal import measured_sets
from spot_bench.stats.intervals import DRAWS, Estimate, bootstrap_many, proportion
from spot_bench.stats.metrics import (
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
    reliability,
    roc,
    top_accuracy,
)

__all__ = ["FIGURES", "SHARES", "compute_figures", "malignant_mask", "malignant_scores", "selective_curve", "summarize"]

SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


def selective_curve(predictions: Predictions, malignant: Bools, draws: int = DRAWS) -> list[dict[str, Any]]:
    """For each of SHARES: the accuracy on this share of images, those with the highest top scores.

    Also count the malignant images among them whose top class is benign. Images with the same score as the last one are
    included.
    """
    p = predictions
    score, top = p.scores.max(axis=1), p.scores.argmax(axis=1)
    correct, missed, of = top == p.truth, malignant[p.truth] & ~malignant[top], malignant[p.truth]
    ordered = np.sort(score)[::-1]
    curve = []
    for share in SHARES:
        least = ordered[max(1, round(share * len(score))) - 1]
        chosen = score >= least
        curve.append(
            {
                "share": float(chosen.mean()),
                "score": float(least),
                "accuracy": proportion(correct[chosen], p.groups[chosen], draws).as_dict(),
                "malignant_missed": {"count": int(missed[chosen].sum()), "of": int(of[chosen].sum())},
            }
        )
    return curve


FIGURES = (
    "accuracy",
    "top2_accuracy",
    "top3_accuracy",
    "balanced_accuracy",
    "macro_auc",
    "malignant_auc",
    "ece",
    "brier",
    "log_loss",
)


def summarize(
    predictions: Predictions, figures: Sequence[Estimate] | None = None, *, draws: int = DRAWS
) -> dict[str, Any]:
    """Return the figures of one model as a JSON-able record; a figure that does not exist is null.

    `figures` are those of FIGURES if the caller has them already, `draws` the number of resamples.
    docs/reference/reports.md says what each field means.
    """
    p, mask = predictions, malignant_mask(predictions)
    if figures is None:
        figures = bootstrap_many(
            lambda truth, scores: compute_figures(truth, scores, mask), p.groups, p.truth, p.scores, draws=draws
        )
    return {
        "model": p.model,
        "images": len(p.truth),
        "lesions": len(np.unique(p.groups)),
        "skipped": [{"image": image, "reason": reason} for image, reason in p.skipped],
        **{name: figure.as_dict() for name, figure in zip(FIGURES, figures, strict=True)},
        "classes": _classes(p, draws),
        "confusion": {"labels": list(p.labels), "rows": confusion(p.truth, p.scores).tolist()},
        "operating_points": _points(p, draws),
        "roc": _roc(p),
        "reliability": _reliability(p, draws),
        "selective": selective_curve(p, mask, draws),
        "conformal": _conformal(p, draws),
    }


def compute_figures(truth: Ints, scores: Floats, mask: Bools) -> NDArray[np.float64]:
    """Compute the figures named in FIGURES, in their order."""
    return np.array(
        [
            accuracy(truth, scores),
            top_accuracy(truth, scores, 2),
            top_accuracy(truth, scores, 3),
            balanced_accuracy(truth, scores),
            macro_auc(truth, scores),
            auc(mask[truth], malignant_score(scores, mask)),
            ece(truth, scores),
            brier(truth, scores),
            log_loss(truth, scores),
        ]
    )


def malignant_mask(predictions: Predictions) -> Bools:
    """Return which columns are malignant; none if unknown."""
    flags = predictions.malignant or (None,) * len(predictions.labels)
    return np.array([bool(flag) for flag in flags])


def malignant_scores(predictions: Predictions) -> tuple[NDArray[np.float64], Bools]:
    """Return the malignant score of every image, and whether its true class is malignant."""
    mask = malignant_mask(predictions)
    return malignant_score(predictions.scores, mask), mask[predictions.truth]


def _points(p: Predictions, draws: int) -> dict[str, dict[str, Any]]:
    """Measure the model's operating points on these images."""
    score, positive = malignant_scores(p)
    measured = {}
    for point in p.operating_points:
        rates = measured_rates(score, positive, point.threshold, p.groups, draws)
        named = zip(("sensitivity", "specificity"), rates, strict=True)
        called = score >= point.threshold
        measured[point.name] = {
            "threshold": point.threshold,
            **{name: rate.as_dict() for name, rate in named},
            "type_1_errors": {"count": int((called & ~positive).sum()), "of": int((~positive).sum())},
            "type_2_errors": {"count": int((~called & positive).sum()), "of": int(positive.sum())},
        }
    return measured


def _classes(p: Predictions, draws: int) -> dict[str, dict[str, Any]]:
    top, aucs = p.scores.argmax(axis=1), bootstrap_many(class_aucs, p.groups, p.truth, p.scores, draws=draws)
    records = {}
    for index, label in enumerate(p.labels):
        of_class, predicted = p.truth == index, top == index
        recall = proportion(predicted[of_class], p.groups[of_class], draws)
        records[label] = {
            "images": recall.n,
            "lesions": recall.groups,
            "correct": int(predicted[of_class].sum()),
            "recall": recall.as_dict(),
            "precision": proportion(of_class[predicted], p.groups[predicted], draws).as_dict(),
            "specificity": proportion(~predicted[~of_class], p.groups[~of_class], draws).as_dict(),
            "auc": aucs[index].as_dict(),
        }
    return records


def _roc(p: Predictions) -> list[dict[str, float | None]]:
    """Return points of the malignant score's ROC curve. The first one, (0, 0), has no threshold."""
    return [
        {"threshold": float(limit) if np.isfinite(limit) else None, "false_positive_rate": across, "sensitivity": up}
        for limit, across, up in roc(*malignant_scores(p)).tolist()
    ]


def _reliability(p: Predictions, draws: int) -> list[dict[str, Any]]:
    """Return the bins of the ECE: mean top score and accuracy."""
    score, correct = p.scores.max(axis=1), p.scores.argmax(axis=1) == p.truth
    return [
        {
            "score": float(score[rows].mean(dtype=np.float64)),
            "accuracy": proportion(correct[rows], p.groups[rows], draws).as_dict(),
        }
        for rows in reliability(p.scores)
    ]


def _conformal(p: Predictions, draws: int) -> dict[str, Any] | None:
    """Measure the model's prediction sets on these images: with one threshold, and with a threshold per class."""
    if p.conformal is None:
        return None
    one, own = p.conformal.marginal, p.conformal.classes
    by_class = np.array([own.get(label, one).threshold for label in p.labels], np.float32)
    return {
        "marginal": {"target": one.coverage} | _sets(np.full(len(p.labels), one.threshold, np.float32), p, draws),
        "by_class": _sets(by_class, p, draws),
        "classes": {
            label: {"target": own.get(label, one).coverage} | _sets(by_class, p.where(p.truth == index), draws)
            for index, label in enumerate(p.labels)
            if (p.truth == index).any()
        },
    }


def _sets(thresholds: Floats, p: Predictions, draws: int) -> dict[str, Any]:
    covered, size = measured_sets(thresholds, p.scores, p.truth, p.groups, draws)
    return {"covered": covered.as_dict(), "size": size.as_dict()}
