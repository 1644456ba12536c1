"""What a model file's limits of capture quality refuse: good pictures, the same with defects, and other things."""

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

__all__ = ["DRAWN", "SCHEMA", "Others", "measure_refusals", "others_at", "passes"]

SCHEMA = 1
DRAWN = 200  # pictures of each kind of spot_bench.data.drawn.shapes

Picture: TypeAlias = Callable[[], Path | NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Others:
    """Pictures that are no good ones of the data set: a name, and each with what it belongs to, such as a lesion."""

    name: str
    pictures: tuple[tuple[Picture, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """One row a picture that could be read."""

    kept: NDArray[np.intp]  # their places among all
    failed: NDArray[np.bool_]  # [pictures, checks]: by the device's own findings
    ood_distance: NDArray[np.float64]
    doubt: NDArray[np.float64]  # one less the first rank's score: what refuses where nothing else is at hand
    groups: NDArray[np.str_]
    unread: tuple[str, ...]

    @property
    def refused(self) -> NDArray[np.bool_]:
        return np.asarray(self.failed.any(axis=1))


def others_at(named: Sequence[tuple[str, Path]]) -> list[Others]:
    """What each path holds, under its name; paths of one name are taken together. A path is a CSV manifest, a picture,
    or a folder of pictures. DataError where there are none."""
    found: dict[str, list[tuple[Picture, str]]] = {}
    for name, path in named:
        found.setdefault(name, []).extend(_at(path))
    return [Others(name, tuple(pictures)) for name, pictures in found.items()]


def _at(path: Path) -> list[tuple[Picture, str]]:
    if path.suffix.lower() == ".csv":
        return [(partial(Path, item.image), item.group) for item in read_manifest(path).items]
    found = [picture.path for picture in find_images([str(path)]) if picture.problem is None]
    if not found:
        raise DataError(f"{path}: no pictures")
    return [(partial(Path, picture), picture) for picture in found]


def passes(manifest: Manifest, others: Sequence[Others], sample: int | None) -> int:
    """How many pictures `measure_refusals` will judge."""
    images = len(manifest.items)
    defective = len(DEFECTS) * min(images, sample or images)
    return images + defective + DRAWN * len(NOT_SKIN) + sum(len(kind.pictures) for kind in others)


def measure_refusals(
    classifier: Classifier,
    manifest: Manifest,
    others: Sequence[Others] = (),
    progress: Callable[[], None] | None = None,
    *,
    sample: int | None = None,
) -> dict[str, Any]:
    """What the limits of the classifier's model refuse, as shares with their 95 % intervals over lesions.

    Of the good images of `manifest` in all, by check and by class; of those with each defect (`sample`: of so many of
    them alone, the classes in turns); of drawn strangers, and of each of `others`. Of the latter two it also says how
    well the OOD distance, and the first rank's score, tell them from the good ones, limits or none. DataError for a model
    without limits, and where more than 1 % of the images of the manifest cannot be judged.
    """
    spec, ood_reference = classifier.model.spec, ood_reference_of(classifier.model)
    if spec.image_quality is None or ood_reference is None:
        raise DataError(f"{classifier.model.name}: has no limits of capture quality: convert its run with this version")
    see = partial(_see, classifier, ood_reference, progress or (lambda: None))
    good = see((partial(Path, item.image), item.group) for item in manifest.items)
    refuse_many_skipped([("", reason) for reason in good.unread], manifest)
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
            {"kind": defect.kind, "severity": defect.severity} | _shares(see(_with_defect(defect, few, classifier)))
            for defect in DEFECTS
        ],
        "others": [{"name": kind.name} | _apart(good, see(kind.pictures)) for kind in (*drawn, *others)],
    }


def _see(
    classifier: Classifier,
    ood_reference: OodReference,
    progress: Callable[[], None],
    pictures: Iterable[tuple[Picture, str]],
) -> _Seen:
    rows: list[tuple[int, list[bool], float, float, str]] = []
    unread: list[str] = []
    for place, (picture, group) in enumerate(pictures):
        try:
            prepared = classifier.prepare(picture())
        except InputError as error:
            unread.append(str(error))
        else:
            prediction = classifier.predict(prepared)
            ood_distance = ood_reference.ood_distance(appearance_of(prepared.tensor), prediction.embedding)
            rows.append((place, _failed(prediction), ood_distance, 1 - prediction.ranked[0].score, group))
        progress()
    if not rows:
        raise DataError(f"no picture of these can be judged, first {unread[0]}" if unread else "no pictures")
    places, failed, ood_distances, doubts, groups = (np.array(column) for column in zip(*rows, strict=True))
    return _Seen(places, failed, ood_distances, doubts, groups, tuple(unread))


def _failed(prediction: Prediction) -> list[bool]:
    found = {finding.check for finding in prediction.quality}
    return [check.name in found for check in CHECKS]


def _with_defect(defect: Defect, items: Sequence[Item], classifier: Classifier) -> Iterator[tuple[Picture, str]]:
    def change(seed: int, item: Item) -> NDArray[np.uint8]:
        return np.asarray(defect.apply(classifier.prepare(item.image).image, seed))

    return ((partial(change, seed, item), item.group) for seed, item in enumerate(items))


def _drawn(draw: Callable[[int], Image.Image], seed: int) -> NDArray[np.uint8]:
    return np.asarray(draw(seed))


def _shares(seen: _Seen) -> dict[str, Any]:
    """The share that is refused, by any check and by each."""
    return {
        "refused": proportion(seen.refused, seen.groups).as_dict(),
        "checks": {
            check.name: proportion(column, seen.groups).as_dict()
            for check, column in zip(CHECKS, seen.failed.T, strict=True)
        },
    }


def _apart(good: _Seen, other: _Seen) -> dict[str, Any]:
    """`_shares` of others, with the chance that one of them measures beyond a good picture."""
    strange = np.repeat([False, True], [len(good.kept), len(other.kept)])
    groups = np.concatenate([np.char.add("good ", good.groups), np.char.add("other ", other.groups)])
    measures = [np.concatenate([getattr(seen, name) for seen in (good, other)]) for name in ("ood_distance", "doubt")]

    def aucs(strange: NDArray[np.bool_], *measures: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([auc(strange, measure) for measure in measures])

    by_unfamiliarity, by_doubt = bootstrap_many(aucs, groups, strange, *measures)
    return _shares(other) | {
        "auc_ood": by_unfamiliarity.as_dict(),
        "auc_doubt": by_doubt.as_dict(),
        "unread": list(other.unread),
    }
