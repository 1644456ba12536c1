"""How right a model is where it answers only what it is surest of.

How good one model's predictions are: every figure with its 95 % interval over lesions, and the counts behind it."""

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
    """For each of SHARES, among so many of the images with the highest first score: how often the first rank is right,
    and how many malignant lesions' images, of those that are answered, have a benign first rank.

    Images as sure as the last one are answered too.
    """
    p = predictions
    sure, first = p.scores.max(axis=1), p.scores.argmax(axis=1)
    right, missed, of = first == p.truth, malignant[p.truth] & ~malignant[first], malignant[p.truth]
    ordered = np.sort(sure)[::-1]
    curve = []
    for share in SHARES:
        least = ordered[max(1, round(share * len(sure))) - 1]
        answered = sure >= least
        curve.append(
            {
                "share": float(answered.mean()),
                "score": float(least),
                "right": proportion(right[answered], p.groups[answered], draws).as_dict(),
                "malignant_missed": {"count": int(missed[answered].sum()), "of": int(of[answered].sum())},
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
    """The figures of one model as a JSON-able record; NaN, where a figure does not exist, is null.

    `figures` are those of FIGURES where the caller has them already, `draws` the number of resamples.
    docs/benchmarks.md says what each field means.
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
    """The figures named in FIGURES, in their order."""
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
    """Which columns are malignant; none where that is not known."""
    flags = predictions.malignant or (None,) * len(predictions.labels)
    return np.array([bool(flag) for flag in flags])


def malignant_scores(predictions: Predictions) -> tuple[NDArray[np.float64], Bools]:
    """The malignant score of every image, and whether the image is of a malignant class."""
    mask = malignant_mask(predictions)
    return malignant_score(predictions.scores, mask), mask[predictions.truth]


def _points(p: Predictions, draws: int) -> dict[str, dict[str, Any]]:
    """What the model's own operating points do on these images."""
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
    first, aucs = p.scores.argmax(axis=1), bootstrap_many(class_aucs, p.groups, p.truth, p.scores, draws=draws)
    records = {}
    for index, label in enumerate(p.labels):
        of_class, said = p.truth == index, first == index
        recall = proportion(said[of_class], p.groups[of_class], draws)
        records[label] = {
            "images": recall.n,
            "lesions": recall.groups,
            "correct": int(said[of_class].sum()),
            "recall": recall.as_dict(),
            "precision": proportion(of_class[said], p.groups[said], draws).as_dict(),
            "specificity": proportion(~said[~of_class], p.groups[~of_class], draws).as_dict(),
            "auc": aucs[index].as_dict(),
        }
    return records


def _roc(p: Predictions) -> list[dict[str, float | None]]:
    """Points of the malignant score's ROC curve; the first, where nothing is called, has no threshold."""
    return [
        {"threshold": float(limit) if np.isfinite(limit) else None, "false_positive_rate": across, "sensitivity": up}
        for limit, across, up in roc(*malignant_scores(p)).tolist()
    ]


def _reliability(p: Predictions, draws: int) -> list[dict[str, Any]]:
    """The bins of the ECE: how sure the first rank was, and how often it was right."""
    sure, right = p.scores.max(axis=1), p.scores.argmax(axis=1) == p.truth
    return [
        {
            "score": float(sure[rows].mean(dtype=np.float64)),
            "right": proportion(right[rows], p.groups[rows], draws).as_dict(),
        }
        for rows in reliability(p.scores)
    ]


def _conformal(p: Predictions, draws: int) -> dict[str, Any] | None:
    """What the model's own sets of classes do here, under its one threshold and under those of each class."""
    if p.conformal is None:
        return None
    one, own = p.conformal.marginal, p.conformal.classes
    by_class = np.array([own.get(label, one).threshold for label in p.labels], np.float32)
    return {
        "marginal": {"promised": one.coverage} | _sets(np.full(len(p.labels), one.threshold, np.float32), p, draws),
        "by_class": _sets(by_class, p, draws),
        "classes": {
            label: {"promised": own.get(label, one).coverage} | _sets(by_class, p.where(p.truth == index), draws)
            for index, label in enumerate(p.labels)
            if (p.truth == index).any()
        },
    }


def _sets(thresholds: Floats, p: Predictions, draws: int) -> dict[str, Any]:
    covered, size = measured_sets(thresholds, p.scores, p.truth, p.groups, draws)
    return {"covered": covered.as_dict(), "size": size.as_dict()}
