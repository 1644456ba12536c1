"""Read `vectors.json` of a kit: the model's outputs for each image, prepared in each way."""

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

__all__ = ["CORNERS", "RIGHT", "SCHEMA", "STOCK", "VECTORS", "Kit", "KnownStill", "KnownWay", "read_kit"]

SCHEMA = 1
VECTORS = "vectors.json"
RIGHT = "spot-edge"  # the correct way to prepare an image
STOCK = "stock"  # stretch the whole image with plain bilinear from pixel centres, the default of most frameworks
CORNERS = "stock-corners"  # the same from pixel corners, as in MediaPipe and TensorFlow 1
_LARGEST = 64 * 1024 * 1024

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class KnownWay:
    """One way to prepare images, and the outputs it leads to: one row per image, in the kit's order."""

    key: str
    mistake: str
    resize: str
    what: str
    fix: str
    inputs: bool  # whether it can happen to the images in inputs/
    digests: tuple[str, ...] = field(repr=False)  # of the input tensors
    means: Table = field(repr=False)  # of their three channels
    scores: Table = field(repr=False)
    logits: Table = field(repr=False)
    complete: dict[str, Table] = field(repr=False)  # flat evidence and embedding, for the correct and the stock ways


@dataclass(frozen=True, slots=True, eq=False)
class KnownStill:
    """A large JPEG, its scores by way, and how far an app's scores may be from them."""

    image: str  # stills/…
    tolerance: float
    scores: dict[str, Table] = field(repr=False)  # one row each


@dataclass(frozen=True, slots=True, eq=False)
class Kit:
    """A kit whose images match its `vectors.json`."""

    model: dict[str, str]  # file, id, name, variant
    labels: tuple[str, ...]
    tolerance_score: float
    tolerance_rms: float
    vectors: tuple[str, ...]  # vectors/…
    inputs: tuple[str, ...]  # inputs/…, in the same order
    ways: dict[str, KnownWay] = field(repr=False)
    stills: tuple[KnownStill, ...] = ()  # only for models whose geometry reduces large JPEGs

    def images(self, folder: str) -> tuple[str, ...]:
        """Return the images in one of the kit's folders: inputs, vectors or stills."""
        return {"inputs": self.inputs, "vectors": self.vectors, "stills": tuple(s.image for s in self.stills)}[folder]


def read_kit(folder: Path) -> Kit:
    """Read the kit in `folder`. Raise DataError if it is not a kit, or if its images have changed."""
    path = folder / VECTORS
    try:
        record = json.loads(read_file(path, _LARGEST))
    except OSError as error:
        raise DataError(f"{folder}: not a kit: {VECTORS} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON") from None
    try:
        if record["schema"] != SCHEMA:
            raise DataError(f"{path}: schema {record['schema']!r}, but this spot-edge reads schema {SCHEMA}")
        kit = _kit(record)
        digests = {image["image"]: image["sha256"] for image in record["images"]}
        digests |= {image["input"]: image["sha256_of_input_file"] for image in record["images"]}
        digests |= {still["image"]: still["sha256"] for still in record.get("stills", [])}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{path}: not written by 'spot-edge kit export': export the kit again") from None
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
        vectors=tuple(image["image"] for image in images),
        inputs=tuple(image["input"] for image in images),
        ways={key: _way(key, about, images) for key, about in record["ways"].items()},
        stills=tuple(_still(still) for still in record.get("stills", [])),
    )


def _still(record: dict[str, Any]) -> KnownStill:
    scores = {key: _table([found["scores"]]) for key, found in record["outputs"].items()}
    return KnownStill(record["image"], float(record["tolerance"]), scores)


def _way(key: str, about: dict[str, Any], images: list[dict[str, Any]]) -> KnownWay:
    outputs = [image["outputs"][key] for image in images]
    complete = [name for name in ("evidence", "embedding") if name in outputs[0]]
    return KnownWay(
        key=key,
        **{name: about[name] for name in ("mistake", "resize", "what", "fix", "inputs")},
        digests=tuple(each["input_sha256"] for each in outputs),
        means=_table([each["input_mean"] for each in outputs]),
        scores=_table([each["scores"] for each in outputs]),
        logits=_table([each["logits"] for each in outputs]),
        complete={name: _table([each[name] for each in outputs]) for name in complete},
    )


def _table(rows: list[Any]) -> Table:
    return np.array([np.ravel(row) for row in rows], np.float64)


def _check_digest(path: Path, digest: str) -> None:
    try:
        content = read_file(path, _LARGEST)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}: export the kit again") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{path}: changed since the kit was exported: export the kit again")
