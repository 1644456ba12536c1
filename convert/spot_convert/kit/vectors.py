"""`vectors.json` of a kit, read back: what the model answers to each picture, prepared in each way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import DataError
from spot_edge.files import read_file

__all__ = ["CORNERS", "RIGHT", "SCHEMA", "STOCK", "VECTORS", "Kit", "KnownWay", "read_kit"]

SCHEMA = 1
VECTORS = "vectors.json"
RIGHT = "spot-edge"  # the way to prepare a picture that the model file's image contract names
STOCK = (
    "stock"  # the whole picture stretched by plain bilinear, as most frameworks do by themselves, from pixels' centres
)
CORNERS = "stock-corners"  # the same from their corners, as MediaPipe and the first TensorFlow do
_LARGEST = 64 * 1024 * 1024

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class KnownWay:
    """One way to prepare pictures, and what it leads to: one row a picture, in the kit's order."""

    key: str
    mistake: str
    resize: str
    what: str
    mend: str
    inputs: bool  # whether it can befall what is in inputs/
    digests: tuple[str, ...] = field(repr=False)  # of the input tensors
    means: Table = field(repr=False)  # of their three channels
    scores: Table = field(repr=False)
    logits: Table = field(repr=False)
    whole: dict[str, Table] = field(repr=False)  # evidence and embedding, flat; of the right way and the two stock ones


@dataclass(frozen=True, slots=True, eq=False)
class Kit:
    """A kit whose pictures are what its `vectors.json` says."""

    model: dict[str, str]  # file, id, name, variant
    labels: tuple[str, ...]
    tolerance_score: float
    tolerance_rms: float
    pictures: tuple[str, ...]  # vectors/…
    inputs: tuple[str, ...]  # inputs/…, in the same order
    ways: dict[str, KnownWay] = field(repr=False)


def read_kit(folder: Path) -> Kit:
    """The kit in `folder`; DataError where it is none, or where its pictures are no longer those it was made with."""
    path = folder / VECTORS
    try:
        record = json.loads(read_file(path, _LARGEST))
    except OSError as error:
        raise DataError(f"{folder}: not a kit: {VECTORS} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON") from None
    try:
        if record["schema"] != SCHEMA:
            raise DataError(f"{path}: schema {record['schema']!r}; this spot-edge reads schema {SCHEMA}")
        kit = _kit(record)
        digests = {image["image"]: image["sha256"] for image in record["images"]}
        digests |= {image["input"]: image["sha256_of_input_file"] for image in record["images"]}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{path}: not what 'spot-edge export-kit' writes: export the kit again") from None
    for name, digest in digests.items():
        _check_digest(folder / name, digest)
    return kit


def _kit(record: dict[str, Any]) -> Kit:
    images = record["images"]
    return Kit(
        model={key: record["model"][key] for key in ("file", "id", "name", "variant")},
        labels=tuple(record["labels"]),
        tolerance_score=float(record["tolerance"]["score"]),
        tolerance_rms=float(record["tolerance"]["rms"]),
        pictures=tuple(image["image"] for image in images),
        inputs=tuple(image["input"] for image in images),
        ways={key: _way(key, about, images) for key, about in record["ways"].items()},
    )


def _way(key: str, about: dict[str, Any], images: list[dict[str, Any]]) -> KnownWay:
    answers = [image["answers"][key] for image in images]
    whole = [name for name in ("evidence", "embedding") if name in answers[0]]
    return KnownWay(
        key=key,
        **{name: about[name] for name in ("mistake", "resize", "what", "mend", "inputs")},
        digests=tuple(answer["input_sha256"] for answer in answers),
        means=_table([answer["input_mean"] for answer in answers]),
        scores=_table([answer["scores"] for answer in answers]),
        logits=_table([answer["logits"] for answer in answers]),
        whole={name: _table([answer[name] for answer in answers]) for name in whole},
    )


def _table(rows: list[Any]) -> Table:
    return np.array([np.ravel(row) for row in rows], np.float64)


def _check_digest(path: Path, digest: str) -> None:
    try:
        content = read_file(path, _LARGEST)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}: export the kit again") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{path}: not the picture that the kit was made with: export the kit again")
