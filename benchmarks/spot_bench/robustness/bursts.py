"""Whether a burst steadies the answer: simulated captures of one lesion, each judged by one frame and by several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.inference import refuse_many_skipped
from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.predictions import describe_model
from spot_bench.robustness.captures import CONDITIONS, Conditions, capture
from spot_bench.stats.intervals import Estimate, bootstrap_many, wilson
from spot_bench.stats.metrics import balanced_accuracy, brier, ece
from spot_edge.errors import DataError, InputError

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.image.tensor import Prepared
    from spot_edge.prediction.prediction import Prediction

__all__ = ["FORMS", "NEAR", "SCHEMA", "differing", "measure_bursts"]

SCHEMA = 1
NEAR = 0.2  # less than this between the first two scores of the untouched picture
REPEATS = 8  # captures of each lesion, every two of which are compared
FORMS = ("single", "sharpest", "burst")  # its first frame; its sharpest, as many copies of it would; all together


class _Answered(NamedTuple):
    scores: NDArray[np.float32]  # [captures, forms, classes]
    categories: NDArray[np.str_]  # [captures, forms]
    fit: int  # frames that the model's limits let through, of all captures


def measure_bursts(
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    frames: int = 5,
    repeats: int = REPEATS,
    within: float = NEAR,
) -> dict[str, Any]:
    """How often two captures of a lesion get different answers: from one frame, the sharpest of `frames`, and all.

    That is asked of the images whose first two scores, untouched, are less than `within` apart, `repeats` captures
    of each. Calibration is that of one capture of every image. Figures come with their 95 % intervals over lesions.
    DataError for labels that the model does not know, where more than 1 % of the images cannot be judged, and where
    none is near.
    """
    labels = [label.label for label in classifier.model.spec.labels]
    unknown = [label for label in manifest.labels if label not in labels]
    if unknown:
        raise DataError(f"{manifest.origin}: labels that {classifier.model.name} does not know: {', '.join(unknown)}")
    kept: list[Item] = []
    near: list[Item] = []
    skipped: list[tuple[str, str]] = []
    once: list[_Answered] = []
    again: dict[Conditions, list[_Answered]] = {conditions: [] for conditions in CONDITIONS}
    for done, item in enumerate(manifest.items, 1):
        try:
            prepared = classifier.prepare(item.image)
        except InputError as error:
            skipped.append((manifest.name(item), str(error)))
        else:
            untouched, name = classifier.predict(prepared).ranked, manifest.name(item)
            kept.append(item)
            once.append(_answered(classifier, prepared, name, [0], frames, CONDITIONS[0]))
            if untouched[0].score - untouched[1].score < within:
                near.append(item)
                for conditions, answers in again.items():
                    answers.append(_answered(classifier, prepared, name, range(repeats), frames, conditions))
        if progress is not None:
            progress(done, len(manifest.items))
    refuse_many_skipped(skipped, manifest)
    if not near:
        raise DataError(f"{manifest.origin}: no image whose first two scores are within {within} of one another")
    return {
        "model": describe_model(classifier),
        "images": len(kept),
        "skipped": [{"image": image, "reason": reason} for image, reason in skipped],
        "frames": frames,
        "repeats": repeats,
        "near": {"within": within, "images": len(near), "lesions": len({item.group for item in near})},
        "conditions": [_steadiness(near, labels, again[conditions], conditions, frames) for conditions in CONDITIONS],
        "calibration": _calibration(kept, labels, once),
    }


def differing(answers: NDArray[Any]) -> NDArray[np.float64]:
    """Of each row of `answers` [images, captures], the share of its pairs of captures that are answered differently."""
    captures = answers.shape[1]
    return np.asarray((answers[:, :, None] != answers[:, None, :]).sum((1, 2)) / (captures * (captures - 1)))


def _answered(
    classifier: Classifier, prepared: Prepared, name: str, places: Sequence[int], frames: int, conditions: Conditions
) -> _Answered:
    """What the captures numbered `places` of a picture are answered."""
    labels = [label.label for label in classifier.model.spec.labels]
    told: list[list[Prediction]] = []
    fit = 0
    for place in places:
        seen = [
            classifier.prepare(np.asarray(capture(prepared.image, name, place, frame, conditions)))
            for frame in range(frames)
        ]
        sharpest, together = classifier.predict_burst(seen)
        told.append([classifier.predict(seen[0]), classifier.predict(sharpest), together])
        fit += together.burst.averaged if together.burst else 0
    by_label = [[{each.label: each.score for each in answer.ranked} for answer in row] for row in told]
    scores = np.array([[[own[label] for label in labels] for own in row] for row in by_label], np.float32)
    return _Answered(scores, np.array([[answer.triage.category for answer in row] for row in told]), fit)


def _steadiness(
    items: Sequence[Item], labels: list[str], answers: Sequence[_Answered], conditions: Conditions, frames: int
) -> dict[str, Any]:
    scores = np.stack([each.scores for each in answers])
    categories = np.stack([each.categories for each in answers])
    groups, truth = np.array([item.group for item in items]), np.array([labels.index(item.label) for item in items])
    captures, forms = scores.shape[1:3]
    first = scores.argmax(axis=3)
    flips, triage = (
        np.stack([differing(told[:, :, form]) for form in range(forms)], axis=1) for told in (first, categories)
    )

    def figures(flips: Any, triage: Any, truth: Any, scores: Any) -> NDArray[np.float64]:
        right = [
            balanced_accuracy(np.repeat(truth, captures), scores[:, :, form].reshape(-1, len(labels)))
            for form in range(forms)
        ]
        means = [told.mean(axis=0) for told in (flips, triage)]
        return np.concatenate([*means, *(_ratios(mean) for mean in means), right, np.subtract(right, right[0])])

    found = bootstrap_many(figures, groups, flips, triage, truth, scores)
    by_figure = [found[start : start + forms] for start in range(0, len(found), forms)]
    record: dict[str, Any] = {"conditions": conditions}
    record["fit"] = sum(each.fit for each in answers) / (len(items) * captures * frames)
    for form, own in zip(FORMS, zip(*by_figure, strict=True), strict=True):
        differ, triage_differs, of_single, triage_of_single, right, more = own
        record[form] = {
            "flips": _not_certain(differ).as_dict(),
            "triage_flips": _not_certain(triage_differs).as_dict(),
            "balanced_accuracy": right.as_dict(),
        }
        if form != FORMS[0]:
            record[form] |= {
                "flips_of_single": _unbounded(of_single).as_dict(),
                "triage_flips_of_single": _unbounded(triage_of_single).as_dict(),
                "balanced_accuracy_difference": more.as_dict(),
            }
    return record


def _ratios(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each against the first; NaN where that is nothing."""
    return means / means[0] if means[0] > 0 else np.full(len(means), np.nan)


def _not_certain(share: Estimate) -> Estimate:
    """Where no resample differs, the Wilson interval of the lesions, as for any share."""
    if share.value not in (0.0, 1.0):
        return share
    low, high = wilson(round(share.value * share.groups), share.groups)
    return replace(share, low=low, high=high)


def _unbounded(ratio: Estimate) -> Estimate:
    """Where it is nothing in every resample, nobody knows how much it may be."""
    return replace(ratio, high=float("nan")) if ratio.value == 0 else ratio


def _calibration(items: Sequence[Item], labels: list[str], answers: Sequence[_Answered]) -> dict[str, Any]:
    """Of one capture of every image, under the first conditions: how good the scores are as probabilities."""
    scores = np.stack([each.scores[0] for each in answers])
    groups, truth = np.array([item.group for item in items]), np.array([labels.index(item.label) for item in items])
    measures = {"ece": ece, "brier": brier, "balanced_accuracy": balanced_accuracy}

    def figures(truth: Any, scores: Any) -> NDArray[np.float64]:
        own = np.array([[of(truth, scores[:, form]) for of in measures.values()] for form in range(len(FORMS))])
        return np.concatenate([*own, own[-1] - own[0]])

    found = bootstrap_many(figures, groups, truth, scores)
    rows = [found[start : start + len(measures)] for start in range(0, len(found), len(measures))]
    return {
        name: {measure: estimate.as_dict() for measure, estimate in zip(measures, row, strict=True)}
        for name, row in zip((*FORMS, "burst_less_single"), rows, strict=True)
    }
