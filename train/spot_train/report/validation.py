"""Measure a trained network on validation, with intervals over lesions: the `metrics.json` of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.stats import metrics
from spot_bench.stats.calibration import SENSITIVITIES, measured_rates, softmax
from spot_bench.stats.intervals import DRAWS, Estimate, bootstrap_many, wilson
from spot_bench.stats.metrics import Bools, Floats, Ints
from spot_train.labels.labelset import LabelSet

__all__ = ["positive_classes", "validation_metrics"]

MELANOMA = ("mel", "melanoma")
FEWEST_DRAWS, WORK = 200, 2e7  # bootstrap draws; images x classes x draws that take a few seconds
_CLASS_FIGURES = ("recall", "precision", "specificity", "auc")
_ORDER = (
    "accuracy",
    "top2_accuracy",
    "top3_accuracy",
    "balanced_accuracy",
    "macro_auc",
    "melanoma_auc",
    "malignant_auc",
    "ece_uncalibrated",
    "brier_uncalibrated",
)


def validation_metrics(
    logits: NDArray[np.float32], truth: NDArray[np.int64], groups: Sequence[str], labels: LabelSet
) -> dict[str, Any]:
    """Return the metrics of uncalibrated `logits` against `truth`, ready for JSON."""
    scores, names, lesions = softmax(logits), [label.label for label in labels.labels], np.asarray(groups)
    per_image, areas, per_class = _per_image(scores, truth), _areas(scores, truth, labels), _per_class(scores, truth)
    draws = int(np.clip(WORK / max(1, scores.size), FEWEST_DRAWS, DRAWS))

    def all_of(rows: Ints) -> NDArray[np.float64]:
        weights = np.bincount(rows, minlength=len(truth)).astype(np.float64)
        of_classes = per_class(weights)
        means = [float(values[rows].mean()) for values in per_image.values()]
        balanced, macro = (metrics.mean_of_defined(row) for row in of_classes[[0, -1]])
        ece = metrics.ece(truth[rows], scores[rows])
        return np.array(
            [*means, balanced, macro, ece, *(area(weights) for area in areas.values()), *of_classes.ravel()]
        )

    estimates = bootstrap_many(all_of, groups, np.arange(len(truth)), draws=draws)
    figures = [*per_image, "balanced_accuracy", "macro_auc", "ece_uncalibrated", *areas]
    found = dict(zip(figures, estimates, strict=False))
    by_class = [estimates[len(figures) + index :: len(names)] for index in range(len(names))]
    counts = metrics.confusion(truth, scores)
    return {
        "schema": 1,
        "split": "val",
        "images": len(truth),
        "groups": len(set(groups)),
        "draws": draws,
        **{name: found[name].as_dict() for name in sorted(figures, key=_ORDER.index)},
        "commonest_class": _commonest(truth, names),
        "classes": {
            name: _class_record(index, truth, scores, lesions, by_class[index]) for index, name in enumerate(names)
        },
        "confusion": {"labels": names, "rows": counts.tolist()},
        "decision": _decision(scores, truth, lesions, labels, draws),
    }


def positive_classes(labels: LabelSet) -> NDArray[np.bool_] | None:
    """Return the mask of the classes that a yes-or-no decision looks for, or None if there is no such decision.

    These are the malignant classes, or else the second of exactly two classes.
    """
    flags = np.array([bool(label.malignant) for label in labels.labels])
    if flags.any() and not flags.all():
        return flags
    return np.array([False, True]) if len(flags) == 2 else None


_Area = Callable[[NDArray[np.float64]], float]  # from the weight of each image


def _per_image(scores: Floats, truth: Ints) -> dict[str, NDArray[Any]]:
    """Return the metrics that are means over images, as one value per image."""
    places = (np.argsort(-scores, axis=1, kind="stable") == truth[:, None]).argmax(axis=1)
    tops = {f"top{k}_accuracy": places < k for k in (2, 3) if scores.shape[1] > k}
    squares = ((scores - np.eye(scores.shape[1])[truth]) ** 2).sum(axis=1)
    return {"accuracy": places < 1, **tops, "brier_uncalibrated": squares}


def _areas(scores: Floats, truth: Ints, labels: LabelSet) -> dict[str, _Area]:
    """Return the named AUCs that the label set supports."""
    names = [label.label for label in labels.labels]
    found = {}
    melanoma = next((names.index(name) for name in MELANOMA if name in names), None)
    if melanoma is not None:
        found["melanoma_auc"] = _weighted_auc(truth == melanoma, scores[:, melanoma])
    mask = np.array([bool(label.malignant) for label in labels.labels])
    if mask.any() and all(label.malignant is not None for label in labels.labels):
        found["malignant_auc"] = _weighted_auc(mask[truth], metrics.malignant_score(scores, mask))
    return found


def _weighted_auc(positive: Bools, score: Floats) -> _Area:
    """Return `metrics.auc` as a function of image weights. Sorting happens once, for a thousand resamples."""
    order = np.argsort(score, kind="stable")
    ordered, kind = score[order], positive[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    ties = len(starts) < len(order)

    def area(weights: NDArray[np.float64]) -> float:
        all_of = weights[order]
        hits = all_of * kind
        if ties:
            all_of, hits = np.add.reduceat(all_of, starts), np.add.reduceat(hits, starts)
        others = all_of - hits
        below = np.cumsum(others)
        pairs = hits.sum() * below[-1]
        return float((hits * (below - others / 2)).sum() / pairs) if pairs else float("nan")

    return area


def _per_class(scores: Floats, truth: Ints) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a function of image weights: one row per _CLASS_FIGURES, one column per class."""
    number = scores.shape[1]
    pairs = truth.astype(np.intp) * number + scores.argmax(axis=1)
    areas = [_weighted_auc(truth == index, scores[:, index]) for index in range(number)]

    def figures(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = np.bincount(pairs, weights, number * number).reshape(number, number)
        hits, true, first = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        others = counts.sum() - true
        shares = [_shares(hits, true), _shares(hits, first), _shares(others - first + hits, others)]
        return np.array([*shares, [area(weights) for area in areas]], np.float64)

    return figures


def _shares(hits: NDArray[Any], of: NDArray[Any]) -> NDArray[np.float64]:
    shares = np.full(len(of), np.nan)
    np.divide(hits, of, out=shares, where=of > 0)
    return shares


def _class_record(
    index: int, truth: Ints, scores: Floats, lesions: NDArray[Any], estimates: Sequence[Estimate]
) -> dict[str, Any]:
    of_class, called = truth == index, scores.argmax(axis=1) == index
    found = dict(zip(_CLASS_FIGURES, estimates, strict=True))
    for name, rows in (("recall", of_class), ("precision", called), ("specificity", ~of_class)):
        if found[name].value in (0.0, 1.0):  # resampling would give an interval of width zero
            among = len(np.unique(lesions[rows]))
            low, high = wilson(round(found[name].value * among), among)
            found[name] = replace(found[name], low=low, high=high)
    records = {name: estimate.as_dict() for name, estimate in found.items()}
    return {
        "n": int(of_class.sum()),
        "groups": len(np.unique(lesions[of_class])),
        "correct": int((of_class & called).sum()),
        "top_class": int(called.sum()),
        **{name: record["value"] for name, record in records.items()},
        "intervals": {name: [record["low"], record["high"]] for name, record in records.items()},
    }


def _commonest(truth: Ints, names: Sequence[str]) -> dict[str, Any]:
    """Return the accuracy of always predicting the most common class, to compare with."""
    counts = np.bincount(truth, minlength=len(names))
    return {"label": names[int(counts.argmax())], "accuracy": float(counts.max() / max(1, len(truth)))}


def _decision(
    scores: Floats, truth: Ints, lesions: NDArray[Any], labels: LabelSet, draws: int
) -> dict[str, Any] | None:
    """Tune thresholds on the summed score of the positive classes, and measure them on the same images."""
    mask = positive_classes(labels)
    if mask is None or not mask[truth].any() or mask[truth].all():
        return None
    positive, score = mask[truth], metrics.malignant_score(scores, mask)
    area = _weighted_auc(positive, score)

    def of_rows(rows: Ints) -> NDArray[np.float64]:
        return np.array([area(np.bincount(rows, minlength=len(truth)).astype(np.float64))])

    thresholds = {"untuned": 0.5, "youden": metrics.youden_threshold(score, positive)}
    for sensitivity in sorted(SENSITIVITIES):
        name = f"sensitivity-{100 * sensitivity:g}"
        thresholds[name] = metrics.threshold_for_sensitivity(score, positive, sensitivity)
    return {
        "positive": [label.label for label, chosen in zip(labels.labels, mask, strict=True) if chosen],
        "score": "softmax of the Keras network, uncalibrated; a model file carries thresholds of its own",
        "tuned_on": "val",
        "positives": int(positive.sum()),
        "positive_groups": len(np.unique(lesions[positive])),
        "negatives": int((~positive).sum()),
        "negative_groups": len(np.unique(lesions[~positive])),
        "auc": bootstrap_many(of_rows, lesions, np.arange(len(truth)), draws=draws)[0].as_dict(),
        "thresholds": {name: _at(score, positive, value, lesions) for name, value in thresholds.items()},
    }


def _at(score: Floats, positive: Bools, threshold: float, lesions: NDArray[Any]) -> dict[str, Any]:
    called = score >= threshold
    sensitivity, specificity = measured_rates(score, positive, threshold, lesions)
    false_alarms, misses = int((called & ~positive).sum()), int((~called & positive).sum())
    return {
        "threshold": float(threshold),
        "sensitivity": sensitivity.as_dict(),
        "specificity": specificity.as_dict(),
        "accuracy": float((called == positive).mean()),
        "true_positives": int(positive.sum()) - misses,
        "true_negatives": int((~positive).sum()) - false_alarms,
        "type_1_errors": {"name": "false alarms", "count": false_alarms, "rate": 1 - specificity.value},
        "type_2_errors": {"name": "missed", "count": misses, "rate": 1 - sensitivity.value},
    }
