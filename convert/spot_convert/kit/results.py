"""Read the results file of an app strictly, so that an error in the file is not mistaken for an error in the app."""

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

__all__ = ["FOLDERS", "FolderResults", "Results", "read_results"]

SCHEMA = 1
FOLDERS = ("inputs", "vectors", "stills")
_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class FolderResults:
    """An app's results for all of the kit's `inputs`, `vectors` or `stills`, in the order in which it ran them."""

    folder: str
    rows: tuple[int, ...]  # the kit's image of each result
    scores: NDArray[np.float64] = field(repr=False)  # one row per result, as long as the app's
    digests: tuple[str | None, ...] = ()  # of the tensors it fed, if given
    means: NDArray[np.float64] = field(repr=False, default_factory=lambda: np.zeros((0, 3)))  # NaN if not given


@dataclass(frozen=True, slots=True)
class Results:
    """The results of an app."""

    platform: str
    model: str | None  # the id of the file that it used, if given
    resize: str  # RIGHT, or STOCK if the app's framework resizes
    folders: tuple[FolderResults, ...]


def read_results(path: Path, kit: Kit) -> Results:
    """Read the results for one or more folders of `kit`, each complete. Raise DataError for any other file."""
    try:
        record = json.loads(read_file(path, _LARGEST))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise DataError(f'{path}: must be a JSON object with "schema": {SCHEMA}')
    entries = record.get("results")
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path}: "results" must be a non-empty list')
    model, resize = record.get("model"), record.get("resize", RIGHT)
    if model is not None and not isinstance(model, str):
        raise DataError(f'{path}: "model" must be a string, the id of the model file')
    if resize not in (RIGHT, STOCK):
        raise DataError(f'{path}: "resize" must be "{RIGHT}" or "{STOCK}"')
    results = [_Result.of(entry, f"{path}: results[{number}]", kit) for number, entry in enumerate(entries)]
    names = [result.image for result in results]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated:
        raise DataError(f"{path}: {repeated} occurs twice")
    lengths = sorted({len(result.scores) for result in results})
    if len(lengths) > 1:
        raise DataError(f"{path}: the numbers of scores differ: {', '.join(map(str, lengths))}")
    folders = (_folder_results(name, results, kit, str(path)) for name in FOLDERS)
    return Results(str(record.get("platform", "")), model, resize, tuple(each for each in folders if each is not None))


@dataclass(frozen=True, slots=True)
class _Result:
    image: str
    scores: list[float]
    digest: str | None
    mean: list[float]

    @classmethod
    def of(cls, entry: Any, place: str, kit: Kit) -> _Result:
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise DataError(f'{place}: must be an object with "image" and "scores"')
        image = entry["image"]
        if not any(image in kit.images(folder) for folder in FOLDERS):
            raise DataError(f"{place}: {image!r} is not an image of this kit")
        scores = _numbers(entry.get("scores"), f'{place} ({image}): "scores"')
        allowed = {len(kit.labels), *(table.shape[1] for table in kit.ways[RIGHT].complete.values())}
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
    if not all(abs(value) < 1e30 for value in values):  # false for NaN and huge integers, too
        raise DataError(f"{place} contains NaN or infinity")
    return [float(value) for value in values]


def _folder_results(folder: str, results: list[_Result], kit: Kit, file: str) -> FolderResults | None:
    """Collect the results of one of the kit's folders; they must cover none or all of its images."""
    wanted = kit.images(folder)
    given = [result for result in results if result.image in wanted]
    missing = [image for image in wanted if image not in {result.image for result in given}]
    if not given:
        return None
    if missing:
        raise DataError(f"{file}: no result for {missing[0]} ({len(missing)} of {len(wanted)} {folder} are missing)")
    return FolderResults(
        folder,
        tuple(wanted.index(result.image) for result in given),
        np.array([result.scores for result in given]),
        tuple(result.digest for result in given),
        np.array([result.mean for result in given]),
    )
