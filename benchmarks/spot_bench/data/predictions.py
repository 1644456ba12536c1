"""A model's answers to every image of a data set, as arrays.

The answers that drift compares: of a model that is run now, or kept from an earlier run."""

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
    "describe_model",
    "is_predictions_file",
    "copy_predictions",
    "load_predictions",
    "predict",
    "predict_into",
    "refuse_other_labels",
    "refuse_unknown_labels",
    "run_model",
    "save_predictions",
]

SCHEMA = 1
_OPTIONAL = ("embeddings", "looks")
_ARRAYS = ("truth", "scores", "logits", "groups", "images")


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One row an image, in the order of the data set; one column a class, in the order of `labels`."""

    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    scores: NDArray[np.float32] = field(repr=False)
    logits: NDArray[np.float32] = field(repr=False)  # the mean of the evidence over its positions
    groups: NDArray[np.str_] = field(repr=False)
    images: NDArray[np.str_] = field(repr=False)  # paths relative to the data set
    skipped: tuple[tuple[str, str], ...] = ()  # images that cannot be judged, and why
    model: dict[str, str] = field(default_factory=dict)  # name, variant, id, runtime, version
    malignant: tuple[bool | None, ...] = ()  # of each label; empty where not known
    operating_points: tuple[OperatingPoint, ...] = ()  # the model's own
    conformal: Conformal | None = None  # its thresholds for sets of classes
    embeddings: NDArray[np.float32] | None = field(default=None, repr=False)  # where they were asked for
    looks: NDArray[np.float32] | None = field(
        default=None, repr=False
    )  # with them: the numbers of spot_edge.image.appearance

    def where(self, rows: NDArray[np.bool_]) -> Predictions:
        """Some of the images alone."""
        arrays = {name: getattr(self, name) for name in (*_ARRAYS, *_OPTIONAL)}
        return replace(self, **{name: array[rows] for name, array in arrays.items() if array is not None})


def predict(
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    embeddings: bool = False,
    journal: Journal | None = None,
    whole: bool = True,
) -> Predictions:
    """Run `classifier` over every image of `manifest`; `progress(done, all)` is called after each.

    Images that cannot be judged are skipped and named in the answer; more than 1 % of them is a DataError, and so is
    a label that the model does not know. Scores that are not numbers are a CheckError. Of a part of the images, not
    the `whole`, any number may be skipped.
    """
    refuse_unknown_labels(classifier.model, manifest)
    spec = classifier.model.spec
    columns = {label.label: index for index, label in enumerate(spec.labels)}
    found = infer(classifier, manifest, progress, embeddings=embeddings, journal=journal, whole=whole)
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
        looks=found.looks,
    )


def refuse_unknown_labels(model: ModelFile, manifest: Manifest) -> None:
    """DataError where `manifest` has labels that `model` has not."""
    known = [label.label for label in model.spec.labels]
    unknown = [label for label in manifest.labels if label not in known]
    if unknown:
        raise DataError(
            f"{manifest.origin}: labels that {model.name} does not know: {', '.join(unknown)} "
            f"(it knows {', '.join(known)})"
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
    """`predict`, its answers saved as `file`; each is kept in FILE.partial beside it as it comes.

    `resume` goes on from what an interrupted run left there, and reads `file` where it is finished: DataError where
    that was another model, runtime or list of images. Without it, whatever a run left is an OutputError.
    """
    partial = file.with_suffix(".partial")
    if file.exists():
        if not resume:
            raise OutputError(f"{file}: exists already: name another folder with --out")
        answers = load_predictions(file)
        _refuse_others(answers, classifier, manifest, file, embeddings)
    else:
        journal = Journal(partial, _about(classifier, manifest, embeddings), resume=resume)
        try:
            answers = predict(classifier, manifest, progress, embeddings=embeddings, journal=journal)
            save_predictions(answers, file)
        finally:
            journal.close()
    partial.unlink(missing_ok=True)
    return answers


def describe_model(classifier: Classifier) -> dict[str, str]:
    """Which file answered, and in which runtime."""
    spec = classifier.model.spec
    return {
        "name": spec.name,
        "variant": spec.variant,
        "id": classifier.model.id,
        "runtime": classifier.runtime.name,
        "version": classifier.runtime.version,
    }


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write `predictions` as an .npz file at `path`, whole or not at all."""
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
    """The predictions that `save_predictions` wrote to `path`; DataError for any other file."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in (*_ARRAYS, *_OPTIONAL) if name in _ARRAYS or name in stored}
            about = json.loads(str(stored["about"]))
        if about.pop("schema") != SCHEMA:
            raise DataError(f"{path}: predictions of another schema than {SCHEMA}: make them again")
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
        raise DataError(f"{path}: not a file of predictions") from None


def _point(record: dict[str, Any]) -> OperatingPoint:
    rates = {key: Rate(**record[key]) for key in ("sensitivity", "specificity")}
    return OperatingPoint(**(record | rates))


def _conformal(record: dict[str, Any] | None) -> Conformal | None:
    if record is None:
        return None
    classes = {label: SetThreshold(**threshold) for label, threshold in record["classes"].items()}
    return Conformal(SetThreshold(**record["marginal"]), classes, record["measured_on"])


def _about(classifier: Classifier, manifest: Manifest, embeddings: bool) -> dict[str, str]:
    """What a journal belongs to, in the words in which a difference is told."""
    listed = "".join(f"{manifest.name(item)}\0{item.label}\0{item.group}\n" for item in manifest.items)
    return {
        "model": classifier.model.id,
        "runtime": f"{classifier.runtime.name} {classifier.runtime.version}",
        "list of images": hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest(),
        "answer to --embeddings": "yes" if embeddings else "no",
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
        raise DataError(f"{file}: answers of another model, runtime or list of images: name another folder with --out")


def is_predictions_file(file: Path) -> bool:
    """Whether `file` holds predictions rather than a model."""
    return file.suffix == ".npz"


def refuse_other_labels(files: Sequence[Path], labels: Sequence[Sequence[str]]) -> None:
    """DataError, before any of them is run, where a file knows other labels than the first: the baseline."""
    for file, own in zip(files, labels, strict=True):
        if sorted(own) != sorted(labels[0]):
            raise DataError(
                f"{file} knows the labels {', '.join(own)}, but {files[0]} {', '.join(labels[0])}: "
                "they cannot be compared"
            )


def copy_predictions(answers: Predictions, folder: Path | None, number: int) -> Predictions:
    """Earlier answers, copied into `folder` where one is named; the baseline has number 0."""
    if folder is not None:
        save_predictions(answers, _place(folder, number, answers.model.get("variant", "")))
    return answers


def run_model(
    classifier: Classifier,
    images: Manifest,
    progress: Callable[[int, int], None],
    folder: Path | None,
    number: int,
    *,
    resume: bool = False,
) -> Predictions:
    """The model's answers, kept in `folder` as they come where one is named; `resume` goes on from what is there."""
    if folder is None:
        return predict(classifier, images, progress)
    file = _place(folder, number, classifier.model.spec.variant)
    return predict_into(file, classifier, images, progress, resume=resume)


def _place(folder: Path, number: int, variant: str) -> Path:
    return folder / f"predictions-{number}-{re.sub(r'[^A-Za-z0-9.-]+', '-', variant) or 'model'}.npz"
