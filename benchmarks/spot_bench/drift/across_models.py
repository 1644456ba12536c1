"""Report which images flip in which models, on whom the flips fall, and whether the near-tie note covers them.

docs/reference/reports.md says what each figure means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import EFFECTS, aligned, flip_effects
from spot_bench.drift.flips import concentration, exemplars, overlap, strata
from spot_bench.drift.subgroups import ordered, stated
from spot_bench.drift.summary import malignant_mask, malignant_scores
from spot_bench.stats.intervals import DRAWS, compare_correct, proportion
from spot_bench.stats.metrics import Bools, Floats

__all__ = ["CATEGORIES", "MARGINS", "flips_across_models", "prediction_sets", "score_margins", "triage_categories"]

CATEGORIES = ("routine", "review soon", "review now")  # by urgency
MARGINS = (0.05, 0.1, 0.2, 0.3)  # margins for a near tie; the device uses 0.1


def score_margins(scores: Floats) -> NDArray[np.float64]:
    """Return the highest score minus the second highest of every image."""
    if scores.shape[1] < 2:
        return np.ones(len(scores))
    second, first = np.sort(scores, axis=1).T[-2:]
    return np.asarray(first - second, np.float64)


def triage_categories(predictions: Predictions) -> NDArray[np.int64] | None:
    """Return the triage category of every image as an index into CATEGORIES, as the device's `triage_of` gives it.

    This ignores the image quality checks. None for a model without operating points.
    """
    if not predictions.operating_points:
        return None
    limits = [point.threshold for point in predictions.operating_points]
    score, _ = malignant_scores(predictions)
    return (score >= min(limits)).astype(np.int64) + (score >= max(limits))


def prediction_sets(predictions: Predictions) -> Bools | None:
    """Return which classes (columns) are in the prediction set of every image, as the device's `prediction_set_of`.

    None for a model without conformal thresholds.
    """
    if predictions.conformal is None:
        return None
    own = predictions.conformal.classes
    limits = [own[label].threshold if label in own else -np.inf for label in predictions.labels]
    return np.asarray(predictions.scores >= np.array(limits, np.float64))


def flips_across_models(
    baseline: Predictions, others: Sequence[Predictions], manifest: Manifest, *, draws: int = DRAWS
) -> dict[str, Any]:
    """Return what each of `others` flips in the predictions of `baseline`, as a JSON-able report.

    `together` compares several models; it is None for one. Subgroups are the classes and what `manifest` states of age,
    sex, site and skin tone. Raise DataError for other labels or images.
    """
    others = [aligned(baseline, other) for other in others]
    margin, groups = score_margins(baseline.scores), baseline.groups
    flips = np.stack([flip_effects(baseline, other) >= 0 for other in others], axis=1)
    stratum = strata(margin)
    columns = {"class": (list(baseline.labels), np.array(baseline.labels)[baseline.truth])}
    for attribute, values in stated(baseline, manifest).items():
        columns[attribute] = (ordered(attribute, values, groups), values)
    return {
        "baseline": {"model": baseline.model, "margin_below": _flagged(margin, None, draws, groups)},
        "models": [
            {
                "name": name,
                "model": other.model,
                **_changes(baseline, other, draws),
                "near_tie": _near_tie(baseline, other, margin, draws),
                "concentration": concentration(flipped.astype(float), columns, stratum, groups, draws=draws),
            }
            for name, other, flipped in zip(_names(others), others, flips.T, strict=True)
        ],
        "together": None
        if len(others) < 2
        else {
            **overlap(flips, margin, groups, draws=draws),
            "flipped_by": {str(n): c for n, c in sorted(Counter(flips.sum(axis=1).tolist()).items())},
            "near_tie": _near_tie_of_exemplars(baseline, others, flips, margin),
            "images": _images(baseline, others, flips, margin),
            "concentration": concentration(flips.mean(axis=1), columns, stratum, groups, draws=draws),
        },
    }


def _names(others: Sequence[Predictions]) -> list[str]:
    """Name models by variant, and by the first digits of their id where several have the same variant."""
    variants = [other.model.get("variant") or "a model" for other in others]
    return [
        f"{variant} {other.model.get('id', '')[:8]}".strip() if variants.count(variant) > 1 else variant
        for variant, other in zip(variants, others, strict=True)
    ]


def _changes(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any]:
    """Count the flips and their effects."""
    effect, mask, groups = flip_effects(baseline, other), malignant_mask(baseline), baseline.groups
    before, after = baseline.scores.argmax(axis=1), other.scores.argmax(axis=1)
    truth = baseline.truth
    return {
        "flips": proportion(effect >= 0, groups, draws).as_dict(),
        "by_effect": {name: int((effect == place).sum()) for place, name in enumerate(EFFECTS)},
        "correct": compare_correct(before == truth, after == truth, groups),
        "malignant_to_benign": int((mask[before] & ~mask[after]).sum()),
        "benign_to_malignant": int((~mask[before] & mask[after]).sum()),
        "triage": _triage(baseline, other, draws),
    }


def _triage(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any] | None:
    before, after = triage_categories(baseline), triage_categories(other)
    if before is None or after is None:
        return None
    malignant, changed = malignant_mask(baseline)[baseline.truth], np.not_equal(before, after)
    flipped = flip_effects(baseline, other) >= 0
    return {
        "changed": proportion(changed, baseline.groups, draws).as_dict(),
        "less_urgent": int((after < before).sum()),
        "more_urgent": int((after > before).sum()),
        "malignant_less_urgent": {"count": int((malignant & (after < before)).sum()), "of": int(malignant.sum())},
        "changed_of_flips": {"count": int((changed & flipped).sum()), "of": int(flipped.sum())},
    }


def _near_tie(baseline: Predictions, other: Predictions, margin: NDArray[np.float64], draws: int) -> dict[str, Any]:
    """Count the flips that the model's own prediction marks as uncertain: by a near tie, or by its prediction set."""
    flipped, own = flip_effects(baseline, other) >= 0, score_margins(other.scores)
    members, groups = prediction_sets(other), baseline.groups
    found: dict[str, Any] = {
        "baseline_margin_below": _counts(margin, flipped),
        "margin_below": _flagged(own, flipped, draws, groups),
        "prediction_set": None,
    }
    if members is not None:
        top_two = np.argsort(-other.scores, axis=1)[:, :2].T
        held = np.asarray(np.logical_and(*(members[np.arange(len(members)), column] for column in top_two)))
        found["prediction_set"] = {
            "both_classes": _count(_both(baseline, other, members)[flipped]),
            "top_two_of_all": proportion(held, groups, draws).as_dict(),
        }
    return found


def _near_tie_of_exemplars(
    baseline: Predictions, others: Sequence[Predictions], flips: Bools, margin: NDArray[np.float64]
) -> dict[str, Any]:
    """The same for exemplars: by the baseline's margin, and by the prediction set of each model that flips one."""
    chosen = exemplars(flips)
    members = [prediction_sets(other) for other in others]
    found: dict[str, Any] = {"baseline_margin_below": _counts(margin, chosen), "both_classes": None}
    if all(each is not None for each in members):
        rows = [
            _both(baseline, other, own)[chosen & flipped]
            for other, own, flipped in zip(others, members, flips.T, strict=True)
            if own is not None
        ]
        found["both_classes"] = _count(np.concatenate(rows))
    return found


def _both(baseline: Predictions, other: Predictions, members: Bools) -> Bools:
    """Return where the prediction set holds both the old and the new top class."""
    rows = np.arange(len(members))
    return np.asarray(members[rows, baseline.scores.argmax(axis=1)] & members[rows, other.scores.argmax(axis=1)])


def _counts(margin: NDArray[np.float64], rows: Bools) -> list[dict[str, Any]]:
    return [{"below": limit} | _count(margin[rows] < limit) for limit in MARGINS]


def _count(rows: Bools) -> dict[str, int]:
    return {"count": int(rows.sum()), "of": len(rows)}


def _flagged(
    margin: NDArray[np.float64], flipped: Bools | None, draws: int, groups: NDArray[Any]
) -> list[dict[str, Any]]:
    """For each of MARGINS: the share of all images with a smaller margin, and of those `flipped`."""
    return [
        {"below": limit, "flagged": proportion(margin < limit, groups, draws).as_dict()}
        | ({} if flipped is None else {"flips": _count(margin[flipped] < limit)})
        for limit in MARGINS
    ]


def _images(
    baseline: Predictions, others: Sequence[Predictions], flips: Bools, margin: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """List the images that some model flips, those that most models flip first."""
    names, top = _names(others), [other.scores.argmax(axis=1) for other in others]
    rows = np.flatnonzero(flips.any(axis=1))
    return [
        {
            "image": str(baseline.images[row]),
            "label": baseline.labels[baseline.truth[row]],
            "margin": float(margin[row]),
            "baseline": baseline.labels[int(baseline.scores[row].argmax())],
            "models": {
                name: baseline.labels[new[row]]
                for name, new, flipped in zip(names, top, flips[row], strict=True)
                if flipped
            },
        }
        for row in rows[np.lexsort((margin[rows], -flips[rows].sum(axis=1)))]
    ]
