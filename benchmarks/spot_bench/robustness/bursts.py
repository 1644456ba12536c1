"""Measure whether a burst makes predictions more stable: compare simulated captures, one frame against several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.inference import refuse_many_skipped
from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.predictions import describe_model, refuse_unknown_labels
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
NEAR = 0.2  # largest difference of the two highest scores, on the unchanged image
REPEATS = 8  # captures of each image; every pair of them is compared
FORMS = ("single", "sharpest", "burst")  # the first frame; the sharpest frame; the average of all frames


class _Captures(NamedTuple):
    scores: NDArray[np.float32]  # [captures, forms, classes]
    categories: NDArray[np.str_]  # [captures, forms]
    usable: int  # frames of all captures that pass the image quality checks


def measure_bursts(
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    frames: int = 5,
    repeats: int = REPEATS,
    within: float = NEAR,
) -> dict[str, Any]:
    """Measure how often two captures of an image get different predictions, from one frame and from `frames`.

    This uses the images whose two highest scores differ by less than `within`, with `repeats` captures of each.
    Calibration uses one capture of every image. All figures have 95 % intervals over lesions. Raise DataError for
    labels that the model does not have, if more than 1 % of the images cannot be classified, or if no image is near.
    """
    refuse_unknown_labels(classifier.model, manifest)
    labels = [label.label for label in classifier.model.spec.labels]
    kept: list[Item] = []
    near: list[Item] = []
    skipped: list[tuple[str, str]] = []
    once: list[_Captures] = []
    again: dict[Conditions, list[_Captures]] = {conditions: [] for conditions in CONDITIONS}
    for done, item in enumerate(manifest.items, 1):
        try:
            prepared = classifier.prepare(item.image)
        except InputError as error:
            skipped.append((manifest.name(item), str(error)))
        else:
            unchanged, name = classifier.predict(prepared).ranked, manifest.name(item)
            kept.append(item)
            once.append(_captures(classifier, prepared, name, [0], frames, CONDITIONS[0]))
            if unchanged[0].score - unchanged[1].score < within:
                near.append(item)
                for conditions, captures in again.items():
                    captures.append(_captures(classifier, prepared, name, range(repeats), frames, conditions))
        if progress is not None:
            progress(done, len(manifest.items))
    refuse_many_skipped(skipped, manifest)
    if not near:
        raise DataError(f"{manifest.origin}: no image whose two highest scores are within {within}")
    return {
        "model": describe_model(classifier),
        "images": len(kept),
        "skipped": [{"image": image, "reason": reason} for image, reason in skipped],
        "frames": frames,
        "repeats": repeats,
        "near": {"within": within, "images": len(near), "lesions": len({item.group for item in near})},
        "conditions": [_stability(near, labels, again[conditions], conditions, frames) for conditions in CONDITIONS],
        "calibration": _calibration(kept, labels, once),
    }


def differing(found: NDArray[Any]) -> NDArray[np.float64]:
    """Return, for each row of `found` [images, captures], the share of pairs of captures that differ."""
    captures = found.shape[1]
    return np.asarray((found[:, :, None] != found[:, None, :]).sum((1, 2)) / (captures * (captures - 1)))


def _captures(
    classifier: Classifier, prepared: Prepared, name: str, places: Sequence[int], frames: int, conditions: Conditions
) -> _Captures:
    """Predict the captures numbered `places` of an image, in each of FORMS."""
    labels = [label.label for label in classifier.model.spec.labels]
    predictions: list[list[Prediction]] = []
    usable = 0
    for place in places:
        images = [
            classifier.prepare(np.asarray(capture(prepared.image, name, place, frame, conditions)))
            for frame in range(frames)
        ]
        sharpest, together = classifier.predict_burst(images)
        predictions.append([classifier.predict(images[0]), classifier.predict(sharpest), together])
        usable += together.burst.averaged if together.burst else 0
    by_label = [[{each.label: each.score for each in found.ranked} for found in row] for row in predictions]
    scores = np.array([[[own[label] for label in labels] for own in row] for row in by_label], np.float32)
    return _Captures(
        scores,
        np.array([[found.triage.category if found.triage else "" for found in row] for row in predictions]),
        usable,
    )


def _stability(
    items: Sequence[Item], labels: list[str], found: Sequence[_Captures], conditions: Conditions, frames: int
) -> dict[str, Any]:
    scores = np.stack([each.scores for each in found])
    categories = np.stack([each.categories for each in found])
    groups, truth = np.array([item.group for item in items]), np.array([labels.index(item.label) for item in items])
    captures, forms = scores.shape[1:3]
    top = scores.argmax(axis=3)
    flips, triage = (
        np.stack([differing(each[:, :, form]) for form in range(forms)], axis=1) for each in (top, categories)
    )

    def figures(flips: Any, triage: Any, truth: Any, scores: Any) -> NDArray[np.float64]:
        accuracies = [
            balanced_accuracy(np.repeat(truth, captures), scores[:, :, form].reshape(-1, len(labels)))
            for form in range(forms)
        ]
        means = [each.mean(axis=0) for each in (flips, triage)]
        changes = np.subtract(accuracies, accuracies[0])
        return np.concatenate([*means, *(_ratios(mean) for mean in means), accuracies, changes])

    estimates = bootstrap_many(figures, groups, flips, triage, truth, scores)
    by_figure = [estimates[start : start + forms] for start in range(0, len(estimates), forms)]
    record: dict[str, Any] = {"conditions": conditions}
    record["usable"] = sum(each.usable for each in found) / (len(items) * captures * frames)
    for form, own in zip(FORMS, zip(*by_figure, strict=True), strict=True):
        differ, triage_differs, relative, triage_relative, balanced, difference = own
        record[form] = {
            "flips": _with_wilson(differ).as_dict(),
            "triage_flips": _with_wilson(triage_differs).as_dict(),
            "balanced_accuracy": balanced.as_dict(),
        }
        if form != FORMS[0]:
            record[form] |= {
                "flips_relative_to_single": relative.as_ratio().as_dict(),
                "triage_flips_relative_to_single": triage_relative.as_ratio().as_dict(),
                "balanced_accuracy_difference": difference.as_dict(),
            }
    return record


def _ratios(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each by the first; NaN if that is zero."""
    return means / means[0] if means[0] > 0 else np.full(len(means), np.nan)


def _with_wilson(share: Estimate) -> Estimate:
    """Use the Wilson interval of the lesions where resampling gives no interval: at 0 or 1."""
    if share.value not in (0.0, 1.0):
        return share
    low, high = wilson(round(share.value * share.groups), share.groups)
    return replace(share, low=low, high=high)


def _calibration(items: Sequence[Item], labels: list[str], found: Sequence[_Captures]) -> dict[str, Any]:
    """Measure calibration on one capture of every image, under the first conditions."""
    scores = np.stack([each.scores[0] for each in found])
    groups, truth = np.array([item.group for item in items]), np.array([labels.index(item.label) for item in items])
    measures = {"ece": ece, "brier": brier, "balanced_accuracy": balanced_accuracy}

    def figures(truth: Any, scores: Any) -> NDArray[np.float64]:
        own = np.array([[of(truth, scores[:, form]) for of in measures.values()] for form in range(len(FORMS))])
        return np.concatenate([*own, own[-1] - own[0]])

    estimates = bootstrap_many(figures, groups, truth, scores)
    rows = [estimates[start : start + len(measures)] for start in range(0, len(estimates), len(measures))]
    return {
        name: {measure: estimate.as_dict() for measure, estimate in zip(measures, row, strict=True)}
        for name, row in zip((*FORMS, "burst_minus_single"), rows, strict=True)
    }
