"""Compare the predictions of two models on the same images, such as a quantized file and its float32 baseline."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.drift.exact_loss import exact_loss
from spot_bench.drift.summary import FIGURES, compute_figures, malignant_mask, malignant_scores, summarize
from spot_bench.stats.intervals import DRAWS, Estimate, bootstrap_many, compare_correct, proportion, wilson
from spot_bench.stats.metrics import kl, rates_at, recalls
from spot_edge.errors import DataError

__all__ = ["EFFECTS", "SCHEMA", "aligned", "compare", "flip_effects"]

SCHEMA = 1
EFFECTS = ("malignancy lost", "now wrong", "still wrong", "now right")  # of a flip, worst first
_DISTANCES = ("mean_abs_logit_difference", "kl")


def compare(
    baseline: Predictions,
    other: Predictions,
    *,
    draws: int = DRAWS,
    unlabelled: tuple[Predictions, Predictions] | None = None,
) -> dict[str, Any]:
    """Return both models' figures, their paired differences (other - baseline), and the flips.

    Each figure is an estimate with a 95 % interval over lesions. Both models are resampled together, so a difference
    has a narrower interval than the two figures. `draws` is the number of resamples. The models may order their labels
    differently; other labels or other images raise DataError.

    `unlabelled` are both models' predictions for the same further images without labels. They count only in
    `exact.flips`.
    """
    other = aligned(baseline, other)
    if unlabelled is not None and not np.array_equal(unlabelled[0].images, unlabelled[1].images):
        raise DataError(f"{_title(other)} and {_title(baseline)} were not run on the same unlabelled images")
    names = [*FIGURES, *(f"recall {label}" for label in baseline.labels)]
    own, others, differences, distances = _paired(baseline, other, len(names), draws)
    return {
        "schema": SCHEMA,
        "baseline": summarize(baseline, own[: len(FIGURES)], draws=draws),
        "other": summarize(other, others[: len(FIGURES)], draws=draws),
        "differences": {
            **_records(FIGURES, differences[: len(FIGURES)]),
            "recall": _records(baseline.labels, _recall_differences(baseline, differences[len(FIGURES) :])),
            "operating_points": _point_differences(baseline, other, draws),
        },
        "mcnemar": _mcnemar(baseline, other),
        "agreement": _agreement(baseline, other, draws),
        "exact": exact_loss(baseline, other, malignant_mask(baseline), _most_frequent(baseline), unlabelled),
        **_records(_DISTANCES, distances),
        "classes": _class_distances(baseline, other, draws),
        "largest_logit_difference": float(np.abs(other.logits - baseline.logits).max()),
        "largest_score_difference": float(np.abs(other.scores - baseline.scores).max()),
        "flips": _flips(baseline, other),
    }


def aligned(baseline: Predictions, other: Predictions) -> Predictions:
    """Return `other` with columns in the order of `baseline`; raise DataError for other labels or images."""
    if not len(baseline.truth) or not np.array_equal(baseline.images, other.images):
        raise DataError(f"{_title(other)} and {_title(baseline)} were not run on the same images. Run both again")
    if sorted(other.labels) != sorted(baseline.labels):
        raise DataError(
            f"{_title(other)} has the labels {', '.join(other.labels)}, but "
            f"{_title(baseline)} has {', '.join(baseline.labels)}. They cannot be compared"
        )
    order = [other.labels.index(label) for label in baseline.labels]
    if not np.array_equal(np.array(order)[baseline.truth], other.truth):
        raise DataError(
            f"{_title(other)} and {_title(baseline)} were run on images with different labels. Run both again"
        )
    return replace(
        other,
        labels=baseline.labels,
        truth=baseline.truth,
        scores=other.scores[:, order],
        logits=other.logits[:, order],
        malignant=tuple(other.malignant[index] for index in order) if other.malignant else (),
    )


def flip_effects(baseline: Predictions, other: Predictions) -> NDArray[np.int64]:
    """Return the effect of each image's flip as an index into EFFECTS; -1 for no flip."""
    truth, mask = baseline.truth, malignant_mask(baseline)
    before, after = baseline.scores.argmax(axis=1), other.scores.argmax(axis=1)
    found = np.full(len(truth), EFFECTS.index("still wrong"))
    found[after == truth] = EFFECTS.index("now right")
    found[before == truth] = EFFECTS.index("now wrong")
    found[mask[truth] & mask[before] & ~mask[after]] = EFFECTS.index("malignancy lost")
    found[before == after] = -1
    return found


def _title(predictions: Predictions) -> str:
    return " ".join(filter(None, (predictions.model.get("name"), predictions.model.get("variant")))) or "a model"


def _paired(baseline: Predictions, other: Predictions, count: int, draws: int) -> tuple[list[Estimate], ...]:
    """Estimate the baseline's figures, the other's, their differences, and the distances between the two."""
    own_mask, other_mask = malignant_mask(baseline), malignant_mask(other)
    per_image = np.abs(other.logits - baseline.logits).mean(axis=1)

    def figures(truth: Any, a: Any, b: Any, distance: Any) -> NDArray[np.float64]:
        own = np.concatenate([compute_figures(truth, a, own_mask), recalls(truth, a)])
        others = np.concatenate([compute_figures(truth, b, other_mask), recalls(truth, b)])
        return np.concatenate([own, others, others - own, [distance.mean(), kl(a, b)]])

    arrays = (baseline.truth, baseline.scores, other.scores, per_image)
    found = bootstrap_many(figures, baseline.groups, *arrays, draws=draws)
    return found[:count], found[count : 2 * count], found[2 * count : 3 * count], found[3 * count :]


def _recall_differences(baseline: Predictions, differences: list[Estimate]) -> list[Estimate]:
    """Use the Wilson bound of the lesions where no resample differs and resampling gives no interval."""
    found = []
    for index, estimate in enumerate(differences):
        lesions = len(np.unique(baseline.groups[baseline.truth == index]))
        bound = wilson(0, lesions)[1]
        found.append(replace(estimate, low=-bound, high=bound) if estimate.low == estimate.high == 0 else estimate)
    return found


def _class_distances(baseline: Predictions, other: Predictions, draws: int) -> dict[str, dict[str, Any]]:
    """Measure how far logits and scores moved, by true class."""
    distance, truth = np.abs(other.logits - baseline.logits).mean(axis=1), baseline.truth
    found = {}
    for index, label in enumerate(baseline.labels):
        rows = truth == index
        if not rows.any():
            continue
        arrays = (distance[rows], baseline.scores[rows], other.scores[rows])
        estimates = bootstrap_many(
            lambda moved, a, b: np.array([moved.mean(), kl(a, b)]), baseline.groups[rows], *arrays, draws=draws
        )
        found[label] = _records(_DISTANCES, estimates)
    return found


def _point_differences(baseline: Predictions, other: Predictions, draws: int) -> dict[str, dict[str, Any]]:
    """For each operating point of both models: the difference of their rates, each at its own threshold."""
    (own, positive), (others, _) = malignant_scores(baseline), malignant_scores(other)
    if not positive.any() or positive.all():
        return {}
    thresholds = {point.name: point.threshold for point in baseline.operating_points}
    found = {}
    for point in other.operating_points:
        if point.name not in thresholds:
            continue
        limits = (thresholds[point.name], point.threshold)

        def difference(kind: Any, a: Any, b: Any, limits: tuple[float, float] = limits) -> NDArray[np.float64]:
            return np.subtract(rates_at(b, kind, limits[1]), rates_at(a, kind, limits[0]))

        estimates = bootstrap_many(difference, baseline.groups, positive, own, others, draws=draws)
        found[point.name] = _records(("sensitivity", "specificity"), estimates)
    return found


def _agreement(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any]:
    """Return how often both have the same top class: overall, by true class, and without the most frequent class."""
    same = baseline.scores.argmax(axis=1) == other.scores.argmax(axis=1)
    truth, labels, common = baseline.truth, baseline.labels, _most_frequent(baseline)

    def share(rows: NDArray[np.bool_]) -> dict[str, float | int | None]:
        return proportion(same[rows], baseline.groups[rows], draws).as_dict()

    return {
        "all": share(np.ones(len(truth), bool)),
        "classes": {label: share(truth == index) for index, label in enumerate(labels)},
        f"all but {labels[common]}": share(truth != common),
    }


def _most_frequent(baseline: Predictions) -> int:
    """Return the index of nevus if it is a class, otherwise of the most frequent class."""
    labels = baseline.labels
    return labels.index("nv") if "nv" in labels else int(np.bincount(baseline.truth, minlength=len(labels)).argmax())


def _mcnemar(baseline: Predictions, other: Predictions) -> dict[str, Any]:
    """Count top classes that were right and are not now, and the reverse: of all images, and by true class."""
    before, after = (model.scores.argmax(axis=1) == baseline.truth for model in (baseline, other))

    def over(rows: NDArray[np.bool_]) -> dict[str, Any]:
        return compare_correct(before[rows], after[rows], baseline.groups[rows])

    truth = baseline.truth
    return {
        "all": over(np.ones(len(truth), bool)),
        "classes": {label: over(truth == index) for index, label in enumerate(baseline.labels)},
    }


def _flips(baseline: Predictions, other: Predictions) -> list[dict[str, Any]]:
    """List the flipped images in the order of EFFECTS, those with the highest baseline score first."""
    before, after = baseline.scores.argmax(axis=1), other.scores.argmax(axis=1)
    found, score = flip_effects(baseline, other), baseline.scores.max(axis=1)
    rows = np.flatnonzero(found >= 0)
    return [
        {
            "image": str(baseline.images[row]),
            "label": baseline.labels[baseline.truth[row]],
            "effect": EFFECTS[found[row]],
            "baseline": {"label": baseline.labels[before[row]], "score": float(score[row])},
            "other": {"label": baseline.labels[after[row]], "score": float(other.scores[row, after[row]])},
        }
        for row in rows[np.lexsort((-score[rows], found[rows]))]
    ]


def _records(names: Any, estimates: list[Estimate]) -> dict[str, Any]:
    return {name: estimate.as_dict() for name, estimate in zip(names, estimates, strict=True)}
