"""Predictions of a model for every image of a data set: make, save and load them as arrays."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.inference import Journal, infer
from spot_bench.data.manifest import Manifest
from spot_edge.errors import DataError, OutputError
from spot_edge.files import write_file
from spot_edge.model.spec import Conformal, OperatingPoint, Rate, SetThreshold, as_data

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier
    from spot_edge.model.file import ModelFile

__all__ = [
    "Predictions",
    "copy_predictions",
    "describe_model",
    "is_predictions_file",
    "load_predictions",
    "predict",
    "predict_into",
    "refuse_other_labels",
    "refuse_unknown_labels",
    "run_model",
    "save_predictions",
]

SCHEMA = 1
_OPTIONAL = ("embeddings", "appearance")
_ARRAYS = ("truth", "scores", "logits", "groups", "images")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One row per image, in the order of the data set; one column per class, in the order of `labels`."""

    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    scores: NDArray[np.float32] = field(repr=False)
    logits: NDArray[np.float32] = field(repr=False)  # the mean of the evidence over its positions
    groups: NDArray[np.str_] = field(repr=False)
    images: NDArray[np.str_] = field(repr=False)  # paths relative to the data set
    skipped: tuple[tuple[str, str], ...] = ()  # images that could not be classified, with the reason
    model: dict[str, str] = field(default_factory=dict)  # see `describe_model`
    malignant: tuple[bool | None, ...] = ()  # for each label; empty if unknown
    operating_points: tuple[OperatingPoint, ...] = ()  # of the model
    conformal: Conformal | None = None  # thresholds of its prediction sets
    embeddings: NDArray[np.float32] | None = field(default=None, repr=False)  # only on request
    appearance: NDArray[np.float32] | None = field(default=None, repr=False)  # with them: spot_edge.image.appearance

    def where(self, rows: NDArray[np.bool_]) -> Predictions:
        """Return the predictions for some of the images."""
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_OPTIONAL)}
        return replace(self, **{name: array[rows] for name, array in arrays.items() if array is not None})


def predict(
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    embeddings: bool = False,
    journal: Journal | None = None,
    complete: bool = True,
) -> Predictions:
    """Run `classifier` over every image of `manifest`; `progress(done, total)` is called after each.

    Images that cannot be classified are skipped and listed. Raise DataError for a label that the model does not have or
    if more than 1 % of the images were skipped, and CheckError for scores that are not finite numbers. With `complete`
    false, `manifest` is a part of the data set and any number of its images may be skipped.
    """
    refuse_unknown_labels(classifier.model, manifest)
    spec = classifier.model.spec
    columns = {label.label: index for index, label in enumerate(spec.labels)}
    found = infer(classifier, manifest, progress, embeddings=embeddings, journal=journal, complete=complete)
    return Predictions(
        labels=tuple(columns),
        truth=np.array([columns[item.label] for item in found.kept], np.int64),
        scores=found.scores,
        logits=found.logits,
        groups=np.array([item.group for item in found.kept]),
        images=np.array([manifest.name(item) for item in found.kept]),
        skipped=found.skipped,
        model=describe_model(classifier),
        malignant=tuple(label.malignant for label in spec.labels),
        operating_points=spec.operating_points,
        conformal=spec.conformal,
        embeddings=found.embeddings,
        appearance=found.appearance,
    )


def refuse_unknown_labels(model: ModelFile, manifest: Manifest) -> None:
    """Raise DataError if `manifest` has labels that `model` does not have."""
    known = [label.label for label in model.spec.labels]
    unknown = [label for label in manifest.labels if label not in known]
    if unknown:
        raise DataError(
            f"{manifest.origin}: {model.name} does not have the labels {', '.join(unknown)} (it has {', '.join(known)})"
        )


def predict_into(
    file: Path,
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    embeddings: bool = False,
    resume: bool = False,
) -> Predictions:
    """Run `predict` and save the result as `file`. Until then FILE.partial beside it keeps each image as it comes.

    `resume` continues an interrupted run, or loads `file` if it is complete. Raise DataError if that run had another
    model, runtime or list of images, and OutputError if a file exists and `resume` is false.
    """
    partial = file.with_suffix(".partial")
    if file.exists():
        if not resume:
            raise OutputError(f"{file}: already exists. Name another folder with --out")
        predictions = load_predictions(file)
        _refuse_others(predictions, classifier, manifest, file, embeddings)
    else:
        journal = Journal(partial, _about(classifier, manifest, embeddings), resume=resume)
        try:
            predictions = predict(classifier, manifest, progress, embeddings=embeddings, journal=journal)
            save_predictions(predictions, file)
        finally:
            journal.close()
    partial.unlink(missing_ok=True)
    return predictions


def describe_model(classifier: Classifier) -> dict[str, str]:
    """Describe the model file and the runtime it runs in. Several views count as a variant of their own."""
    spec, views = classifier.model.spec, classifier.views
    return {
        "name": spec.name,
        "variant": spec.variant if views == 1 else f"{spec.variant}, {views} views",
        "id": classifier.model.id,
        "runtime": classifier.runtime.name,
        "version": classifier.runtime.version,
    }


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write `predictions` to the .npz file `path` atomically."""
    about = {
        "schema": SCHEMA,
        "labels": predictions.labels,
        "skipped": predictions.skipped,
        "model": predictions.model,
        "malignant": predictions.malignant,
        "operating_points": [as_data(point) for point in predictions.operating_points],
        "conformal": as_data(predictions.conformal) if predictions.conformal else None,
    }
    arrays = {name: getattr(predictions, name) for name in _ARRAYS}
    optional = {name: getattr(predictions, name) for name in _OPTIONAL}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    content = io.BytesIO()
    np.savez_compressed(content, about=np.array(json.dumps(about)), **arrays)
    write_file(path, content.getvalue())


def load_predictions(path: Path) -> Predictions:
    """Load what `save_predictions` wrote to `path`; raise DataError for any other file."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in (*_ARRAYS, *_OPTIONAL) if name in _ARRAYS or name in stored}
            if "looks" in stored:  # the name of before the first release
                arrays["appearance"] = stored["looks"]
            about = json.loads(str(stored["about"]))
        if about.pop("schema") != SCHEMA:
            raise DataError(f"{path}: not written with schema {SCHEMA}. Make the predictions again")
        return Predictions(
            labels=tuple(about["labels"]),
            skipped=tuple((name, reason) for name, reason in about["skipped"]),
            model=about["model"],
            malignant=tuple(about["malignant"]),
            operating_points=tuple(_point(record) for record in about["operating_points"]),
            conformal=_conformal(about.get("conformal")),
            **arrays,
        )
    except OSError as error:
        raise DataError(f"{path}: predictions cannot be read: {error.strerror or error}") from None
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{path}: not a predictions file") from None


def _point(record: dict[str, Any]) -> OperatingPoint:
    rates = {key: Rate(**record[key]) for key in ("sensitivity", "specificity")}
    return OperatingPoint(**(record | rates))


def _conformal(record: dict[str, Any] | None) -> Conformal | None:
    if record is None:
        return None
    classes = {label: SetThreshold(**threshold) for label, threshold in record["classes"].items()}
    return Conformal(SetThreshold(**record["marginal"]), classes, record["measured_on"])


def _about(classifier: Classifier, manifest: Manifest, embeddings: bool) -> dict[str, str]:
    """Identify what a journal belongs to. The keys appear in error messages."""
    listed = "".join(f"{manifest.name(item)}\0{item.label}\0{item.group}\n" for item in manifest.items)
    return {
        "model": classifier.model.id if classifier.views == 1 else f"{classifier.model.id}, {classifier.views} views",
        "runtime": f"{classifier.runtime.name} {classifier.runtime.version}",
        "list of images": hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest(),
        "choice of --embeddings": "yes" if embeddings else "no",
    }


def _refuse_others(
    found: Predictions, classifier: Classifier, manifest: Manifest, file: Path, embeddings: bool
) -> None:
    skipped = {name for name, _ in found.skipped}
    listed = [(manifest.name(item), item.label, item.group) for item in manifest.items]
    labels = (found.labels[index] for index in found.truth)
    same = [row for row in listed if row[0] not in skipped] == list(
        zip(found.images.tolist(), labels, found.groups.tolist(), strict=True)
    )
    if not same or found.model != describe_model(classifier) or embeddings != (found.embeddings is not None):
        raise DataError(f"{file}: predictions of another model, runtime or list of images. Name another folder")


def is_predictions_file(file: Path) -> bool:
    """Return whether `file` is a predictions file rather than a model."""
    return file.suffix == ".npz"


def refuse_other_labels(files: Sequence[Path], labels: Sequence[Sequence[str]]) -> None:
    """Raise DataError if a file has other labels than the first one, the baseline."""
    for file, own in zip(files, labels, strict=True):
        if sorted(own) != sorted(labels[0]):
            raise DataError(
                f"{file} has the labels {', '.join(own)}, but {files[0]} has {', '.join(labels[0])}. "
                "They cannot be compared"
            )


def copy_predictions(predictions: Predictions, folder: Path | None, number: int) -> Predictions:
    """Save loaded predictions in `folder`, if there is one, and return them. The baseline has number 0."""
    if folder is not None:
        save_predictions(predictions, _place(folder, number, predictions.model.get("variant", "")))
    return predictions


def run_model(
    classifier: Classifier,
    images: Manifest,
    progress: Callable[[int, int], None],
    folder: Path | None,
    number: int,
    *,
    resume: bool = False,
    name: str = "predictions",
) -> Predictions:
    """Predict, and keep the predictions in `folder`, if there is one; `resume` continues an interrupted run.

    The file is called NAME-NUMBER-VARIANT.npz.
    """
    if folder is None:
        return predict(classifier, images, progress)
    file = _place(folder, number, classifier.model.spec.variant, name)
    return predict_into(file, classifier, images, progress, resume=resume)


def _place(folder: Path, number: int, variant: str, name: str = "predictions") -> Path:
    return folder / f"{name}-{number}-{re.sub(r'[^A-Za-z0-9.-]+', '-', variant) or 'model'}.npz"
