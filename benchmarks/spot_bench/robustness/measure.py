"""Measure whether predictions stay the same when an image changes in ways that should not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.inference import refuse_many_skipped
from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.predictions import describe_model, refuse_unknown_labels
from spot_bench.data.splits import balanced_sample
from spot_bench.robustness.perturbations import PERTURBATIONS, Perturbation
from spot_bench.stats.intervals import Estimate, bootstrap_many, proportion
from spot_bench.stats.metrics import balanced_accuracy, malignant_score
from spot_edge.errors import InputError

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.prediction.prediction import Prediction

__all__ = ["SCHEMA", "measure_robustness"]

SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Results:
    """Scores and triage category of every image: the first column is unchanged, then one column per perturbation."""

    items: tuple[Item, ...] = field(repr=False)
    skipped: tuple[tuple[str, str], ...]
    scores: NDArray[np.float32] = field(repr=False)  # [images, 1 + perturbations, classes]
    categories: NDArray[np.str_] = field(repr=False)  # [images, 1 + perturbations]


def measure_robustness(
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    sample: int | None = None,
    perturbations: Sequence[Perturbation] = PERTURBATIONS,
) -> dict[str, Any]:
    """Measure what each perturbation changes in the predictions for `manifest`, compared with the unchanged images.

    With `sample`, use a balanced sample of this many images; the most frequent class is still that of all images. All
    figures have 95 % intervals over lesions. Raise DataError for labels that the model does not have, or if more than
    1 % of the images cannot be classified.
    """
    refuse_unknown_labels(classifier.model, manifest)
    spec = classifier.model.spec
    labels = [label.label for label in spec.labels]
    common = int(np.bincount([labels.index(item.label) for item in manifest.items]).argmax())
    if sample is not None:
        manifest = replace(manifest, items=tuple(balanced_sample(manifest.items, sample)))
    results = _run(classifier, manifest, perturbations, progress)
    truth = np.array([labels.index(item.label) for item in results.items])
    groups = np.array([item.group for item in results.items])
    malignant = np.array([bool(label.malignant) for label in spec.labels])
    before, rare = results.scores[:, 0].argmax(axis=1), truth != common
    balanced, differences, moved = _estimates(results.scores, truth, groups, malignant)

    def record(index: int, perturbation: Perturbation) -> dict[str, Any]:
        flips = results.scores[:, index + 1].argmax(axis=1) != before
        triage = results.categories[:, index + 1] != results.categories[:, 0]
        return {
            "kind": perturbation.kind,
            "severity": perturbation.severity,
            "flips": {
                "all": proportion(flips, groups).as_dict(),
                f"all but {labels[common]}": proportion(flips[rare], groups[rare]).as_dict(),
            },
            "triage_changes": proportion(triage, groups).as_dict(),
            "mean_abs_malignant_difference": moved[index].as_dict(),
            "balanced_accuracy_difference": differences[index].as_dict(),
        }

    return {
        "model": describe_model(classifier),
        "images": len(truth),
        "lesions": len(np.unique(groups)),
        "classes": {label: int((truth == index).sum()) for index, label in enumerate(labels)},
        "skipped": [{"image": image, "reason": reason} for image, reason in results.skipped],
        "balanced_accuracy": balanced.as_dict(),
        "perturbations": [record(index, perturbation) for index, perturbation in enumerate(perturbations)],
    }


def _run(
    classifier: Classifier,
    manifest: Manifest,
    perturbations: Sequence[Perturbation],
    progress: Callable[[int, int], None] | None,
) -> _Results:
    labels = [label.label for label in classifier.model.spec.labels]
    shape = (len(manifest.items), 1 + len(perturbations))
    scores, categories = np.zeros((*shape, len(labels)), np.float32), np.full(shape, "", "U16")
    kept: list[Item] = []
    skipped: list[tuple[str, str]] = []
    for done, item in enumerate(manifest.items, 1):
        try:
            prepared = classifier.prepare(item.image)
        except InputError as error:
            skipped.append((manifest.name(item), str(error)))
        else:
            tensors = (prepared.tensor, *(perturbation.tensor(prepared) for perturbation in perturbations))
            for column, tensor in enumerate(tensors):
                prediction = classifier.predict(replace(prepared, tensor=tensor))
                scores[len(kept), column] = _in_order(prediction, labels)
                categories[len(kept), column] = prediction.triage.category if prediction.triage else ""
            kept.append(item)
        if progress is not None:
            progress(done, len(manifest.items))
    refuse_many_skipped(skipped, manifest)
    return _Results(tuple(kept), tuple(skipped), scores[: len(kept)], categories[: len(kept)])


def _in_order(prediction: Prediction, labels: list[str]) -> list[float]:
    by_label = {score.label: score.score for score in prediction.ranked}
    return [by_label[label] for label in labels]


def _estimates(
    scores: NDArray[np.float32], truth: NDArray[np.int64], groups: NDArray[np.str_], malignant: NDArray[np.bool_]
) -> tuple[Estimate, list[Estimate], list[Estimate]]:
    """Estimate balanced accuracy on unchanged images, and per perturbation its change and that of malignant scores."""
    columns = range(scores.shape[1])
    sums = np.stack([malignant_score(scores[:, column], malignant) for column in columns], axis=1)
    moved = np.abs(sums[:, 1:] - sums[:, :1])

    def figures(truth: Any, scores: Any, moved: Any) -> NDArray[np.float64]:
        found = np.array([balanced_accuracy(truth, scores[:, column]) for column in columns])
        return np.concatenate([found[:1], found[1:] - found[0], moved.mean(axis=0)])

    balanced, *others = bootstrap_many(figures, groups, truth, scores, moved)
    half = len(others) // 2
    return balanced, others[:half], others[half:]
