"""Run a model once over every image of a data set.

A journal keeps the outputs of each image as it comes, so that an interrupted run can resume.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest
from spot_edge.errors import CheckError, DataError, InputError, OutputError
from spot_edge.image.appearance import APPEARANCE, appearance_of

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier

__all__ = ["Journal", "Outputs", "infer", "refuse_many_skipped"]

SCHEMA = 1
_SYNC_EVERY = 64  # lines: a killed process loses none, a power cut loses at most this many


class Journal:
    """The file of an unfinished run: one line per image. `about` identifies model and images; only the same resumes."""

    def __init__(self, path: Path, about: dict[str, str], *, resume: bool) -> None:
        """Start a file at `path`, or `resume` an existing one.

        Raise OutputError if the file exists and `resume` is false, DataError if it belongs to another run.
        """
        if path.exists() and not resume:
            raise OutputError(f"{path}: left by an interrupted run. Continue it with --resume, or remove it")
        self._path, self._lines = path, 0
        try:
            self._file = open(path, "r+b" if path.exists() else "x+b")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        header: dict[str, Any] = {"schema": SCHEMA, **about}
        first = self._file.readline()
        if first.endswith(b"\n"):
            try:
                _refuse_other(first, header, path)
            except DataError:
                self.close()
                raise
        else:  # a new file, or one killed before its first line was complete
            self._cut(0)
            self._write(json.dumps(header).encode())

    def earlier(self, width: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the rows done before with their `width` numbers. Whatever follows the last complete line is cut off."""
        while True:
            place = self._file.tell()
            found = _parse(self._file.readline(), width)
            if found is None:
                break
            yield found
        self._cut(place)

    def add(self, row: int, numbers: NDArray[np.float32]) -> None:
        """Add the outputs of a row."""
        self._write(b"%d %s" % (row, base64.b64encode(numbers.astype("<f4").tobytes())))

    def close(self) -> None:
        """Close the file and keep it."""
        with suppress(OSError):  # a failed write has been reported when it happened
            self._file.close()

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line + b"\n")
            self._file.flush()
            if self._lines % _SYNC_EVERY == 0:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        self._lines += 1

    def _cut(self, place: int) -> None:
        self._file.seek(place)
        self._file.truncate()


def _refuse_other(line: bytes, header: dict[str, Any], path: Path) -> None:
    try:
        found = dict(json.loads(line))
    except (ValueError, TypeError):
        raise DataError(f"{path}: not a file of unfinished predictions. Remove it") from None
    other = [name for name, value in header.items() if found.get(name) != value]
    if other:
        raise DataError(f"{path}: started with another {', '.join(other)}. Remove it, or name another folder")


def _parse(line: bytes, width: int) -> tuple[int, NDArray[np.float32]] | None:
    try:
        row, content = line.split()
        numbers = np.frombuffer(base64.b64decode(content, validate=True), "<f4").astype(np.float32)
        return (int(row), numbers) if len(numbers) == width and line.endswith(b"\n") else None
    except (ValueError, binascii.Error):
        return None


MOST_SKIPPED = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """The model's outputs, one row per image, and the images that were skipped with the reason."""

    kept: tuple[Item, ...] = field(repr=False)
    skipped: tuple[tuple[str, str], ...]
    scores: NDArray[np.float32] = field(repr=False)  # columns in the order of the model, like the logits
    logits: NDArray[np.float32] = field(repr=False)
    embeddings: NDArray[np.float32] | None = field(repr=False)  # only on request
    appearance: NDArray[np.float32] | None = field(repr=False)  # with the embeddings: spot_edge.image.appearance


def infer(
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    embeddings: bool = False,
    journal: Journal | None = None,
    complete: bool = True,
) -> Outputs:
    """Run `classifier` over every image, one at a time. Memory grows by only a few numbers per image.

    Images that `journal` has already are not run again; `progress(done, total)` counts the others. With `complete`
    false, `manifest` is a part of the data set, and the caller checks whether too many images were skipped.
    """
    columns = [label.label for label in classifier.model.spec.labels]
    classes = len(columns)
    features = classifier.model.signature.outputs["embedding"].shape[1]
    width = 2 * classes + (features + len(APPEARANCE) if embeddings else 0)
    numbers = np.zeros((len(manifest.items), width), np.float32)
    finished = np.zeros(len(manifest.items), bool)
    for row, earlier in () if journal is None else journal.earlier(width):
        numbers[row], finished[row] = earlier, True
    skipped: list[tuple[str, str]] = []
    todo = np.flatnonzero(~finished).tolist()
    for done, row in enumerate(todo, 1):
        item = manifest.items[row]
        try:
            prepared = classifier.prepare(item.image)
        except InputError as error:
            skipped.append((manifest.name(item), str(error)))
        else:
            prediction = classifier.predict(prepared)
            by_label = {score.label: score.score for score in prediction.ranked}
            numbers[row, :classes] = [by_label[label] for label in columns]
            numbers[row, classes : 2 * classes] = prediction.evidence.mean(axis=(0, 1), dtype=np.float64)
            if embeddings:
                numbers[row, 2 * classes :] = np.concatenate([prediction.embedding, appearance_of(prepared.tensor)])
            finished[row] = True
            if journal is not None:
                journal.add(row, numbers[row])
        if progress is not None:
            progress(done, len(todo))
    if complete:
        refuse_many_skipped(skipped, manifest)
    numbers = numbers[finished]
    scores, logits = numbers[:, :classes], numbers[:, classes : 2 * classes]
    _refuse_no_numbers(scores, logits, classifier.model.name)
    kept = tuple(manifest.items[row] for row in np.flatnonzero(finished))
    extra = (numbers[:, 2 * classes : -len(APPEARANCE)], numbers[:, -len(APPEARANCE) :]) if embeddings else (None, None)
    return Outputs(kept, tuple(skipped), scores, logits, *extra)


def refuse_many_skipped(skipped: Sequence[tuple[str, str]], manifest: Manifest) -> None:
    """Raise DataError if more than 1 % of the images were `skipped`."""
    if len(skipped) > MOST_SKIPPED * len(manifest.items):
        raise DataError(
            f"{manifest.origin}: {len(skipped)} of {len(manifest.items)} images "
            f"({100 * len(skipped) / len(manifest.items):.1f} %) cannot be classified. "
            f"The first: {skipped[0][1]}. Repair or remove them"
        )


def _refuse_no_numbers(scores: NDArray[np.float32], logits: NDArray[np.float32], name: str) -> None:
    broken = int((~np.isfinite(scores).all(axis=1) | ~np.isfinite(logits).all(axis=1)).sum())
    if broken:
        raise CheckError(f"{name}: scores or evidence are not finite numbers on {broken} of {len(scores)} images")
