"""The results file that an app writes: read strictly, so that a slip in it is not taken for a slip in the app."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_convert.kit.vectors import RIGHT, STOCK, Kit
from spot_edge.errors import DataError
from spot_edge.files import read_file

__all__ = ["PARTS", "Part", "Results", "read_results"]

SCHEMA = 1
PARTS = ("inputs", "vectors")
_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An app's answers to all of the kit's `inputs` or all of its `vectors`, in the order in which it gave them."""

    name: str
    rows: tuple[int, ...]  # which of the kit's pictures each answer is of
    scores: NDArray[np.float64] = field(repr=False)  # one row an answer, as long as the app's
    digests: tuple[str | None, ...] = ()  # of the tensors it fed, where it says so
    means: NDArray[np.float64] = field(repr=False, default_factory=lambda: np.zeros((0, 3)))  # NaN where it does not


@dataclass(frozen=True, slots=True)
class Results:
    """What an app answered."""

    platform: str
    model: str | None  # the id of the file that it used, if it says so
    resize: str  # RIGHT, or STOCK where the app leaves that to its framework
    parts: tuple[Part, ...]


def read_results(path: Path, kit: Kit) -> Results:
    """The results in the file at `path`, of all pictures or all inputs of `kit`, or both; else DataError."""
    try:
        record = json.loads(read_file(path, _LARGEST))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise DataError(f'{path}: must be an object with "schema": {SCHEMA}')
    entries = record.get("results")
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path}: "results" must be a list of answers')
    model, resize = record.get("model"), record.get("resize", RIGHT)
    if model is not None and not isinstance(model, str):
        raise DataError(f'{path}: "model" must be the id of the model file, a text')
    if resize not in (RIGHT, STOCK):
        raise DataError(f'{path}: "resize" must be "{RIGHT}" or "{STOCK}"')
    answers = [_Answer.of(entry, f"{path}: results[{number}]", kit) for number, entry in enumerate(entries)]
    names = [answer.image for answer in answers]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise DataError(f"{path}: {repeated} is answered twice")
    lengths = sorted({len(answer.scores) for answer in answers})
    if len(lengths) > 1:
        raise DataError(f"{path}: scores of different lengths: {', '.join(map(str, lengths))}")
    parts = (_part(name, answers, kit, str(path)) for name in PARTS)
    return Results(str(record.get("platform", "")), model, resize, tuple(part for part in parts if part is not None))


@dataclass(frozen=True, slots=True)
class _Answer:
    image: str
    scores: list[float]
    digest: str | None
    mean: list[float]

    @classmethod
    def of(cls, entry: Any, place: str, kit: Kit) -> _Answer:
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise DataError(f'{place}: must be an object with "image" and "scores"')
        image = entry["image"]
        if image not in kit.pictures and image not in kit.inputs:
            raise DataError(f"{place}: {image!r} is no picture of this kit")
        scores = _numbers(entry.get("scores"), f'{place} ({image}): "scores"')
        allowed = {len(kit.labels), *(table.shape[1] for table in kit.ways[RIGHT].whole.values())}
        if len(scores) not in allowed:
            raise DataError(f"{place} ({image}): {len(scores)} scores for {len(kit.labels)} labels")
        labels, digest = entry.get("labels"), entry.get("input_sha256")
        if labels is not None:
            if not isinstance(labels, list) or sorted(map(str, labels)) != sorted(kit.labels):
                raise DataError(f'{place} ({image}): "labels" must be all of {", ".join(kit.labels)}, in any order')
            if len(scores) != len(labels):
                raise DataError(f"{place} ({image}): {len(scores)} scores for {len(labels)} labels")
            place_of = {str(label): number for number, label in enumerate(labels)}
            scores = [scores[place_of[label]] for label in kit.labels]
        if digest is not None and (not isinstance(digest, str) or len(digest) != 64):
            raise DataError(f'{place} ({image}): "input_sha256" must be 64 hexadecimal digits')
        mean = [math.nan] * 3
        if "input_mean" in entry:
            mean = _numbers(entry["input_mean"], f'{place} ({image}): "input_mean"')
            if len(mean) != 3:
                raise DataError(f'{place} ({image}): "input_mean" must be three numbers')
        return cls(image, scores, digest.lower() if digest else None, mean)


def _numbers(values: Any, place: str) -> list[float]:
    if not isinstance(values, list) or not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in values):
        raise DataError(f"{place} must be a list of numbers")
    if not all(abs(value) < 1e30 for value in values):  # false for NaN, too, and for whole numbers of any length
        raise DataError(f"{place} holds NaN or infinity")
    return [float(value) for value in values]


def _part(name: str, answers: list[_Answer], kit: Kit, file: str) -> Part | None:
    """The answers to one of the kit's two folders: none of its pictures, or every one."""
    wanted = {"inputs": kit.inputs, "vectors": kit.pictures}[name]
    given = [answer for answer in answers if answer.image in wanted]
    missing = [image for image in wanted if image not in {answer.image for answer in given}]
    if not given:
        return None
    if missing:
        raise DataError(f"{file}: no answer to {missing[0]} ({len(missing)} of {len(wanted)} {name} are missing)")
    return Part(
        name,
        tuple(wanted.index(answer.image) for answer in given),
        np.array([answer.scores for answer in given]),
        tuple(answer.digest for answer in given),
        np.array([answer.mean for answer in given]),
    )
