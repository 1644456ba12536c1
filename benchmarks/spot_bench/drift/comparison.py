"""How far one model's answers are from another's on the same images, such as a quantized file's from its float one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.drift.summary import FIGURES, compute_figures, malignant_mask, malignant_scores, summarize
from spot_bench.stats.intervals import DRAWS, Estimate, bootstrap_many, compare_answers, proportion, wilson
from spot_bench.stats.metrics import kl, rates_at, recalls
from spot_edge.errors import DataError

__all__ = ["HARMS", "SCHEMA", "aligned", "compare", "harms"]

SCHEMA = 1
HARMS = ("malignancy lost", "now wrong", "still wrong", "now right")  # what a changed first rank did, worst first
_DISTANCES = ("mean_abs_logit_difference", "kl")


def compare(baseline: Predictions, other: Predictions, *, draws: int = DRAWS) -> dict[str, Any]:
    """Both models' figures, their paired differences (other - baseline), and where they answer differently.

    Each figure is an estimate with its 95 % interval over lesions; both models are resampled alike, so a difference
    is surer than the two figures it is made of. `draws` is the number of resamples. The two may order their labels
    differently; other labels or other images are a DataError.
    """
    other = aligned(baseline, other)
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
        **_records(_DISTANCES, distances),
        "classes": _class_distances(baseline, other, draws),
        "largest_logit_difference": float(np.abs(other.logits - baseline.logits).max()),
        "largest_score_difference": float(np.abs(other.scores - baseline.scores).max()),
        "flips": _flips(baseline, other),
    }


def aligned(baseline: Predictions, other: Predictions) -> Predictions:
    """`other` with its columns in the order of `baseline`'s; DataError for other labels or other images."""
    if not len(baseline.truth) or not np.array_equal(baseline.images, other.images):
        raise DataError(f"{_called(other)} and {_called(baseline)} were not run on the same images: run both again")
    if sorted(other.labels) != sorted(baseline.labels):
        raise DataError(
            f"{_called(other)} knows the labels {', '.join(other.labels)}, but "
            f"{_called(baseline)} {', '.join(baseline.labels)}: they cannot be compared"
        )
    order = [other.labels.index(label) for label in baseline.labels]
    if not np.array_equal(np.array(order)[baseline.truth], other.truth):
        raise DataError(
            f"{_called(other)} and {_called(baseline)} were run on differently labelled images: run both again"
        )
    return replace(
        other,
        labels=baseline.labels,
        truth=baseline.truth,
        scores=other.scores[:, order],
        logits=other.logits[:, order],
        malignant=tuple(other.malignant[index] for index in order) if other.malignant else (),
    )


def harms(baseline: Predictions, other: Predictions) -> NDArray[np.int64]:
    """What happened to each image's first rank, as a place in HARMS; -1 where it stayed."""
    truth, mask = baseline.truth, malignant_mask(baseline)
    before, after = baseline.scores.argmax(axis=1), other.scores.argmax(axis=1)
    found = np.full(len(truth), HARMS.index("still wrong"))
    found[after == truth] = HARMS.index("now right")
    found[before == truth] = HARMS.index("now wrong")
    found[mask[truth] & mask[before] & ~mask[after]] = HARMS.index("malignancy lost")
    found[before == after] = -1
    return found


def _called(predictions: Predictions) -> str:
    return " ".join(filter(None, (predictions.model.get("name"), predictions.model.get("variant")))) or "a model"


def _paired(baseline: Predictions, other: Predictions, count: int, draws: int) -> tuple[list[Estimate], ...]:
    """Estimates of the baseline's figures, the other's, their differences, and the distances between the two."""
    own_mask, other_mask = malignant_mask(baseline), malignant_mask(other)
    per_image = np.abs(other.logits - baseline.logits).mean(axis=1)

    def figures(truth: Any, a: Any, b: Any, apart: Any) -> NDArray[np.float64]:
        own = np.concatenate([compute_figures(truth, a, own_mask), recalls(truth, a)])
        others = np.concatenate([compute_figures(truth, b, other_mask), recalls(truth, b)])
        return np.concatenate([own, others, others - own, [apart.mean(), kl(a, b)]])

    arrays = (baseline.truth, baseline.scores, other.scores, per_image)
    found = bootstrap_many(figures, baseline.groups, *arrays, draws=draws)
    return found[:count], found[count : 2 * count], found[2 * count : 3 * count], found[3 * count :]


def _recall_differences(baseline: Predictions, differences: list[Estimate]) -> list[Estimate]:
    """Where no resample differs, resampling calls itself certain: the Wilson bound of the lesions stands instead."""
    found = []
    for index, estimate in enumerate(differences):
        lesions = len(np.unique(baseline.groups[baseline.truth == index]))
        bound = wilson(0, lesions)[1]
        found.append(replace(estimate, low=-bound, high=bound) if estimate.low == estimate.high == 0 else estimate)
    return found


def _class_distances(baseline: Predictions, other: Predictions, draws: int) -> dict[str, dict[str, Any]]:
    """How far logits and scores moved, for the images of each true class."""
    apart, truth = np.abs(other.logits - baseline.logits).mean(axis=1), baseline.truth
    found = {}
    for index, label in enumerate(baseline.labels):
        rows = truth == index
        if not rows.any():
            continue
        arrays = (apart[rows], baseline.scores[rows], other.scores[rows])
        estimates = bootstrap_many(
            lambda moved, a, b: np.array([moved.mean(), kl(a, b)]), baseline.groups[rows], *arrays, draws=draws
        )
        found[label] = _records(_DISTANCES, estimates)
    return found


def _point_differences(baseline: Predictions, other: Predictions, draws: int) -> dict[str, dict[str, Any]]:
    """For each operating point that both models have: the difference of what each does at its own threshold."""
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
    """How often both rank the same class first: overall, by true class, and without the most frequent class."""
    same = baseline.scores.argmax(axis=1) == other.scores.argmax(axis=1)
    truth, labels = baseline.truth, baseline.labels
    common = labels.index("nv") if "nv" in labels else int(np.bincount(truth, minlength=len(labels)).argmax())

    def share(rows: NDArray[np.bool_]) -> dict[str, float | int | None]:
        return proportion(same[rows], baseline.groups[rows], draws).as_dict()

    return {
        "all": share(np.ones(len(truth), bool)),
        "classes": {label: share(truth == index) for index, label in enumerate(labels)},
        f"all but {labels[common]}": share(truth != common),
    }


def _mcnemar(baseline: Predictions, other: Predictions) -> dict[str, Any]:
    """First ranks that were right before and are not now, and the other way round: of all images, and by true class."""
    before, after = (model.scores.argmax(axis=1) == baseline.truth for model in (baseline, other))

    def over(rows: NDArray[np.bool_]) -> dict[str, Any]:
        return compare_answers(before[rows], after[rows], baseline.groups[rows])

    truth = baseline.truth
    return {
        "all": over(np.ones(len(truth), bool)),
        "classes": {label: over(truth == index) for index, label in enumerate(baseline.labels)},
    }


def _flips(baseline: Predictions, other: Predictions) -> list[dict[str, Any]]:
    """The images whose first-ranked class changed, in the order of HARMS, those of which the baseline was surest first.

    First come malignant lesions that are no longer called malignant.
    """
    before, after = baseline.scores.argmax(axis=1), other.scores.argmax(axis=1)
    found, sure = harms(baseline, other), baseline.scores.max(axis=1)
    rows = np.flatnonzero(found >= 0)
    return [
        {
            "image": str(baseline.images[row]),
            "label": baseline.labels[baseline.truth[row]],
            "harm": HARMS[found[row]],
            "baseline": {"label": baseline.labels[before[row]], "score": float(sure[row])},
            "other": {"label": baseline.labels[after[row]], "score": float(other.scores[row, after[row]])},
        }
        for row in rows[np.lexsort((-sure[rows], found[rows]))]
    ]


def _records(names: Any, estimates: list[Estimate]) -> dict[str, Any]:
    return {name: estimate.as_dict() for name, estimate in zip(names, estimates, strict=True)}
