"""What the device tells of every image beside the first rank: how near a tie it is, the triage category, the set.

Whom compressing harms: which answers each compressed file changes, on whom that falls, whether the device says so.

docs/benchmarks.md says what each figure means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import HARMS, aligned, harms
from spot_bench.drift.flips import concentration, exemplars, overlap, strata
from spot_bench.drift.subgroups import ordered, stated
from spot_bench.drift.summary import malignant_mask, malignant_scores
from spot_bench.stats.intervals import DRAWS, compare_correct, proportion
from spot_bench.stats.metrics import Bools, Floats
from spot_edge.errors import DataError

__all__ = ["CATEGORIES", "NEAR", "SCHEMA", "categories", "harm_report", "margins", "pick_baseline", "sets"]

CATEGORIES = ("routine", "review soon", "review now")  # by urgency


def margins(scores: Floats) -> NDArray[np.float64]:
    """The first score less the second."""
    if scores.shape[1] < 2:
        return np.ones(len(scores))
    second, first = np.sort(scores, axis=1).T[-2:]
    return np.asarray(first - second, np.float64)


def categories(predictions: Predictions) -> NDArray[np.int64] | None:
    """The triage category of every image as a place in CATEGORIES, as `triage_of` of the device gives it.

    From the scores alone: whether a picture was fit to be judged is not asked. None for a model without operating
    points.
    """
    if not predictions.operating_points:
        return None
    limits = [point.threshold for point in predictions.operating_points]
    score, _ = malignant_scores(predictions)
    return (score >= min(limits)).astype(np.int64) + (score >= max(limits))


def sets(predictions: Predictions) -> Bools | None:
    """Which classes (columns) are in every image's set, as `prediction_set_of` of the device gives it.

    None for a model without conformal thresholds.
    """
    if predictions.conformal is None:
        return None
    own = predictions.conformal.classes
    limits = [own[label].threshold if label in own else -np.inf for label in predictions.labels]
    return np.asarray(predictions.scores >= np.array(limits, np.float64))


SCHEMA = 1
NEAR = (0.05, 0.1, 0.2, 0.3)  # margins below which an answer could be called undecided


def pick_baseline(answers: Sequence[Predictions]) -> tuple[Predictions, list[Predictions]]:
    """The float32 file's answers, and the others in their order.

    DataError where there is not one float32 file, no other, or one of another network.
    """
    found = [each for each in answers if each.model.get("variant") == "float32"]
    if len(found) != 1:
        many = f"{len(found)} of the files are" if found else "no file is"
        raise DataError(f"{many} of the variant float32: name the predictions of one, and of what was made of it")
    others = [each for each in answers if each is not found[0]]
    if not others:
        raise DataError("only the float32 file's predictions: name those of the compressed files, too")
    name = found[0].model.get("name", "")
    for each in others:
        if each.model.get("name", "") != name:
            raise DataError(f"{each.model.get('name')} is another network than {name}: name files of one network")
    return found[0], others


def harm_report(
    baseline: Predictions, others: Sequence[Predictions], manifest: Manifest | None, *, name: str, draws: int = DRAWS
) -> dict[str, Any]:
    """What each of `others` changes in the answers of `baseline`, the float32 file; a JSON-able report.

    Subgroups are the classes, and what `manifest`, called `name`, states of age, sex, site and skin tone.
    DataError for other labels or images.
    """
    others = [aligned(baseline, other) for other in others]
    margin, groups = margins(baseline.scores), baseline.groups
    flips = np.stack([harms(baseline, other) >= 0 for other in others], axis=1)
    alike = strata(margin)
    columns = {"class": (list(baseline.labels), np.array(baseline.labels)[baseline.truth])}
    for attribute, values in (stated(baseline, manifest) if manifest else {}).items():
        columns[attribute] = (ordered(attribute, values, groups), values)
    return {
        "report": "harm",
        "schema": SCHEMA,
        "data": {"name": name, "images": len(baseline.truth), "lesions": len(np.unique(groups))},
        "baseline": {"model": baseline.model, "margin_below": _flagged(margin, None, draws, groups)},
        "files": [
            {
                "name": label,
                "model": other.model,
                **_changes(baseline, other, draws),
                "told": _told(baseline, other, margin, draws),
                "concentration": concentration(flipped.astype(float), columns, alike, groups, draws=draws),
            }
            for label, other, flipped in zip(_names(others), others, flips.T, strict=True)
        ],
        "together": {
            **overlap(flips, margin, groups, draws=draws),
            "flipped_by": {str(n): c for n, c in sorted(Counter(flips.sum(axis=1).tolist()).items())},
            "told": _told_of_exemplars(baseline, others, flips, margin),
            "images": _images(baseline, others, flips, margin),
            "concentration": concentration(flips.mean(axis=1), columns, alike, groups, draws=draws),
        },
    }


def _names(others: Sequence[Predictions]) -> list[str]:
    """The variants; with the first digits of the file's id where several are of one."""
    variants = [other.model.get("variant") or "a model" for other in others]
    return [
        f"{variant} {other.model.get('id', '')[:8]}".strip() if variants.count(variant) > 1 else variant
        for variant, other in zip(variants, others, strict=True)
    ]


def _changes(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any]:
    """Which answers changed, and how."""
    harm, mask, groups = harms(baseline, other), malignant_mask(baseline), baseline.groups
    before, after = baseline.scores.argmax(axis=1), other.scores.argmax(axis=1)
    truth = baseline.truth
    return {
        "flips": proportion(harm >= 0, groups, draws).as_dict(),
        "by_harm": {label: int((harm == place).sum()) for place, label in enumerate(HARMS)},
        "right": compare_correct(before == truth, after == truth, groups),
        "malignant_to_benign": int((mask[before] & ~mask[after]).sum()),
        "benign_to_malignant": int((~mask[before] & mask[after]).sum()),
        "triage": _triage(baseline, other, draws),
    }


def _triage(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any] | None:
    before, after = categories(baseline), categories(other)
    if before is None or after is None:
        return None
    malignant, changed = malignant_mask(baseline)[baseline.truth], np.not_equal(before, after)
    flipped = harms(baseline, other) >= 0
    return {
        "changed": proportion(changed, baseline.groups, draws).as_dict(),
        "less_urgent": int((after < before).sum()),
        "more_urgent": int((after > before).sum()),
        "malignant_less_urgent": {"count": int((malignant & (after < before)).sum()), "of": int(malignant.sum())},
        "changed_of_flips": {"count": int((changed & flipped).sum()), "of": int(flipped.sum())},
    }


def _told(baseline: Predictions, other: Predictions, margin: NDArray[np.float64], draws: int) -> dict[str, Any]:
    """Whether the answer of the compressed file itself says that its first rank is not to be relied upon."""
    flipped, own = harms(baseline, other) >= 0, margins(other.scores)
    members, groups = sets(other), baseline.groups
    told: dict[str, Any] = {
        "baseline_margin_below": _counts(margin, flipped),
        "margin_below": _flagged(own, flipped, draws, groups),
        "set": None,
    }
    if members is not None:
        first_two = np.argsort(-other.scores, axis=1)[:, :2].T
        held = np.asarray(np.logical_and(*(members[np.arange(len(members)), column] for column in first_two)))
        told["set"] = {
            "both_classes": _count(_both(baseline, other, members)[flipped]),
            "first_two_of_all": proportion(held, groups, draws).as_dict(),
        }
    return told


def _told_of_exemplars(
    baseline: Predictions, others: Sequence[Predictions], flips: Bools, margin: NDArray[np.float64]
) -> dict[str, Any]:
    """The same of the exemplars: by the float32 file's margin, and of each file that flips one, by its own set."""
    chosen = exemplars(flips)
    members = [sets(other) for other in others]
    told: dict[str, Any] = {"baseline_margin_below": _counts(margin, chosen), "both_classes": None}
    if all(each is not None for each in members):
        rows = [
            _both(baseline, other, own)[chosen & flipped]
            for other, own, flipped in zip(others, members, flips.T, strict=True)
            if own is not None
        ]
        told["both_classes"] = _count(np.concatenate(rows))
    return told


def _both(baseline: Predictions, other: Predictions, members: Bools) -> Bools:
    """Where the set holds both the class that was first and the one that is."""
    rows = np.arange(len(members))
    return np.asarray(members[rows, baseline.scores.argmax(axis=1)] & members[rows, other.scores.argmax(axis=1)])


def _counts(margin: NDArray[np.float64], rows: Bools) -> list[dict[str, Any]]:
    return [{"below": limit} | _count(margin[rows] < limit) for limit in NEAR]


def _count(rows: Bools) -> dict[str, int]:
    return {"count": int(rows.sum()), "of": len(rows)}


def _flagged(
    margin: NDArray[np.float64], flipped: Bools | None, draws: int, groups: NDArray[Any]
) -> list[dict[str, Any]]:
    """What calling answers of a smaller margin undecided would flag: of all images, and of those `flipped`."""
    return [
        {"below": limit, "flagged": proportion(margin < limit, groups, draws).as_dict()}
        | ({} if flipped is None else {"flips": _count(margin[flipped] < limit)})
        for limit in NEAR
    ]


def _images(
    baseline: Predictions, others: Sequence[Predictions], flips: Bools, margin: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """The images that some file flips, those that most flip first."""
    names, first = _names(others), [other.scores.argmax(axis=1) for other in others]
    rows = np.flatnonzero(flips.any(axis=1))
    return [
        {
            "image": str(baseline.images[row]),
            "label": baseline.labels[baseline.truth[row]],
            "margin": float(margin[row]),
            "baseline": baseline.labels[int(baseline.scores[row].argmax())],
            "files": {
                name: baseline.labels[answer[row]]
                for name, answer, flipped in zip(names, first, flips[row], strict=True)
                if flipped
            },
        }
        for row in rows[np.lexsort((margin[rows], -flips[rows].sum(axis=1)))]
    ]
