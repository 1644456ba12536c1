"""Measure what the image quality checks of a model file refuse: good images, images with defects, other images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spot_bench.data.drawn.shapes import NOT_SKIN
from spot_bench.data.inference import refuse_many_skipped
from spot_bench.data.manifest import Item, Manifest, read_manifest
from spot_bench.data.predictions import describe_model
from spot_bench.data.splits import balanced_sample
from spot_bench.robustness.defects import DEFECTS, Defect
from spot_bench.stats.intervals import bootstrap_many, proportion
from spot_bench.stats.metrics import auc
from spot_edge.errors import DataError, InputError
from spot_edge.image.appearance import appearance_of
from spot_edge.image.inputs import find_images
from spot_edge.image.quality import CHECKS
from spot_edge.prediction.ood import OodReference, ood_reference_of

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.prediction.prediction import Prediction

__all__ = ["DRAWN", "SCHEMA", "Others", "count_images", "measure_refusals", "others_at"]

SCHEMA = 1
DRAWN = 200  # images of each kind of NOT_SKIN

Loader: TypeAlias = Callable[[], Path | NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Others:
    """Other images under one name, each with its group, such as a lesion."""

    name: str
    loaders: tuple[tuple[Loader, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """One row per image that could be read."""

    kept: NDArray[np.intp]  # their positions among all images
    failed: NDArray[np.bool_]  # [images, checks]: the findings of the device
    ood_distance: NDArray[np.float64]
    doubt: NDArray[np.float64]  # 1 - top score: the simplest OOD measure, for comparison
    groups: NDArray[np.str_]
    unreadable: tuple[str, ...]

    @property
    def refused(self) -> NDArray[np.bool_]:
        return np.asarray(self.failed.any(axis=1))


def others_at(named: Sequence[tuple[str, Path]]) -> list[Others]:
    """Collect the images at each path under its name. Paths with the same name are combined.

    A path is a CSV manifest, an image, or a folder of images. Raise DataError if it holds no images.
    """
    found: dict[str, list[tuple[Loader, str]]] = {}
    for name, path in named:
        found.setdefault(name, []).extend(_at(path))
    return [Others(name, tuple(loaders)) for name, loaders in found.items()]


def _at(path: Path) -> list[tuple[Loader, str]]:
    if path.suffix.lower() == ".csv":
        return [(partial(Path, item.image), item.group) for item in read_manifest(path).items]
    found = [image.path for image in find_images([str(path)]) if image.problem is None]
    if not found:
        raise DataError(f"{path}: no images")
    return [(partial(Path, image), image) for image in found]


def count_images(manifest: Manifest, others: Sequence[Others], sample: int | None) -> int:
    """Return how many images `measure_refusals` will classify."""
    images = len(manifest.items)
    defective = len(DEFECTS) * min(images, sample or images)
    return images + defective + DRAWN * len(NOT_SKIN) + sum(len(kind.loaders) for kind in others)


def measure_refusals(
    classifier: Classifier,
    manifest: Manifest,
    others: Sequence[Others] = (),
    progress: Callable[[], None] | None = None,
    *,
    sample: int | None = None,
) -> dict[str, Any]:
    """Measure which shares the image quality checks of the classifier's model refuse, with 95 % intervals over lesions.

    Shares are given for the good images of `manifest` (by check and by class), for these images with each defect (with
    `sample`: for a balanced sample of this many), for drawn images of other things, and for each of `others`. For the
    last two, the report also says how well the OOD distance and the top score separate them from the good images. Raise
    DataError for a model without quality limits, or if more than 1 % of the manifest's images cannot be classified.
    """
    spec, ood_reference = classifier.model.spec, ood_reference_of(classifier.model)
    if spec.image_quality is None or ood_reference is None:
        raise DataError(f"{classifier.model.name}: no image quality limits. Convert its run again with this version")
    measure = partial(_measure, classifier, ood_reference, progress or (lambda: None))
    good = measure((partial(Path, item.image), item.group) for item in manifest.items)
    refuse_many_skipped([("", reason) for reason in good.unreadable], manifest)
    items = [manifest.items[place] for place in good.kept]
    labels = np.array([item.label for item in items])
    few = items if sample is None else balanced_sample(items, sample)
    drawn = [
        Others(name, tuple((partial(_drawn, draw, seed), f"{name} {seed}") for seed in range(DRAWN)))
        for name, draw in NOT_SKIN.items()
    ]
    return {
        "model": describe_model(classifier),
        "limits": dict(spec.image_quality.limits),
        "good": _shares(good)
        | {
            "classes": {
                label: proportion(good.refused[labels == label], good.groups[labels == label]).as_dict()
                for label in (label.label for label in spec.labels)
                if (labels == label).any()
            }
        },
        "defects": [
            {"kind": defect.kind, "severity": defect.severity} | _shares(measure(_with_defect(defect, few, classifier)))
            for defect in DEFECTS
        ],
        "others": [{"name": kind.name} | _separation(good, measure(kind.loaders)) for kind in (*drawn, *others)],
    }


def _measure(
    classifier: Classifier,
    ood_reference: OodReference,
    progress: Callable[[], None],
    loaders: Iterable[tuple[Loader, str]],
) -> _Measured:
    rows: list[tuple[int, list[bool], float, float, str]] = []
    unreadable: list[str] = []
    for place, (loader, group) in enumerate(loaders):
        try:
            prepared = classifier.prepare(loader())
        except InputError as error:
            unreadable.append(str(error))
        else:
            prediction = classifier.predict(prepared)
            ood_distance = ood_reference.ood_distance(appearance_of(prepared.tensor), prediction.embedding)
            rows.append((place, _failed(prediction), ood_distance, 1 - prediction.ranked[0].score, group))
        progress()
    if not rows:
        raise DataError(f"no image can be classified. The first: {unreadable[0]}" if unreadable else "no images")
    places, failed, ood_distances, doubts, groups = (np.array(column) for column in zip(*rows, strict=True))
    return _Measured(places, failed, ood_distances, doubts, groups, tuple(unreadable))


def _failed(prediction: Prediction) -> list[bool]:
    found = {finding.check for finding in prediction.quality}
    return [check.name in found for check in CHECKS]


def _with_defect(defect: Defect, items: Sequence[Item], classifier: Classifier) -> Iterator[tuple[Loader, str]]:
    def change(seed: int, item: Item) -> NDArray[np.uint8]:
        return np.asarray(defect.apply(classifier.prepare(item.image).image, seed))

    return ((partial(change, seed, item), item.group) for seed, item in enumerate(items))


def _drawn(draw: Callable[[int], Image.Image], seed: int) -> NDArray[np.uint8]:
    return np.asarray(draw(seed))


def _shares(found: _Measured) -> dict[str, Any]:
    """Estimate the share refused, by any check and by each check."""
    return {
        "refused": proportion(found.refused, found.groups).as_dict(),
        "checks": {
            check.name: proportion(column, found.groups).as_dict()
            for check, column in zip(CHECKS, found.failed.T, strict=True)
        },
    }


def _separation(good: _Measured, other: _Measured) -> dict[str, Any]:
    """Return `_shares` of `other`, and the AUCs with which two measures separate them from good images."""
    is_other = np.repeat([False, True], [len(good.kept), len(other.kept)])
    groups = np.concatenate([np.char.add("good ", good.groups), np.char.add("other ", other.groups)])
    measures = [np.concatenate([getattr(found, name) for found in (good, other)]) for name in ("ood_distance", "doubt")]

    def aucs(is_other: NDArray[np.bool_], *measures: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([auc(is_other, measure) for measure in measures])

    by_unfamiliarity, by_doubt = bootstrap_many(aucs, groups, is_other, *measures)
    return _shares(other) | {
        "auc_ood": by_unfamiliarity.as_dict(),
        "auc_top_score": by_doubt.as_dict(),
        "unreadable": list(other.unreadable),
    }
