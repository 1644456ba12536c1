"""Shift the top class of a trained run toward the rare classes, as `train.shift_to_balance` does in training.

A network trained on many nevi and few melanomas predicts the common class if two classes look alike. Most predictions
are right then, but many images of rare classes are missed. The shift lowers each logit by a factor times the log of
its class's share of the training images. A factor of 0 changes nothing; at 1 the top class is as if all classes had
been equally common.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest, read_manifest
from spot_bench.run.directory import read_run_description
from spot_bench.stats import metrics
from spot_bench.stats.calibration import softmax
from spot_bench.stats.intervals import Estimate, bootstrap_many
from spot_edge.errors import DataError
from spot_edge.files import write_file
from spot_train.data.pixels import pixel_array
from spot_train.labels.labelset import LabelSet, load_label_set, plain_label_set
from spot_train.loop.fit import predict_logits
from spot_train.recipes.recipe import Recipe, load_recipe, recipe_hash
from spot_train.report.page import validation_files
from spot_train.report.validation import validation_metrics
from spot_train.runs.directory import (
    TOP_CLASS,
    load_network,
    new_run,
    refuse_existing,
    top_class_text,
    write_json,
    write_recipe,
)

__all__ = ["FACTORS", "Change", "change_lines", "class_shares", "compare_factors", "shift_run"]

FACTORS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
_REWRITTEN = ("recipe.toml", "run.json", "model.keras", "metrics.json")


class Change(NamedTuple):
    """What one factor changes on validation: paired differences over lesions."""

    factor: float
    balanced_accuracy: Estimate
    accuracy: Estimate
    recalls: dict[str, Estimate]


class _Read(NamedTuple):
    recipe: Recipe
    about: dict[str, Any]
    root: Path  # the folder of the images
    labels: LabelSet
    body: Any
    log_shares: NDArray[np.float64]
    groups: list[str]  # of the validation images, like the next two
    truth: NDArray[np.int64]
    logits: NDArray[np.float64]  # without any shift


def compare_factors(run: Path, data: Path | None, log: Callable[[str], None]) -> list[Change]:
    """Return what each of FACTORS would change on validation, compared with no shift.

    The figures of the best factor are optimistic, because it is chosen on the same images. `data` is the folder
    of the run's images, if it is no longer where `run.json` says.
    """
    read = _read(run, data, log)
    names, before = [label.label for label in read.labels.labels], softmax(read.logits)
    found = []
    for factor in FACTORS:
        after = softmax(read.logits - factor * read.log_shares)

        def differences(rows: NDArray[np.int64], after: NDArray[np.float64] = after) -> NDArray[np.float64]:
            return _figures(read.truth[rows], after[rows]) - _figures(read.truth[rows], before[rows])

        balanced, accuracy, *recalls = bootstrap_many(differences, read.groups, np.arange(len(read.truth)))
        found.append(Change(factor, balanced, accuracy, dict(zip(names, recalls, strict=True))))
    return found


def change_lines(changes: Sequence[Change]) -> list[str]:
    """Render the changes in points: a row per factor, with 95 % intervals for the first two figures."""
    rows = [["factor", "balanced accuracy", "accuracy", *(f"recall {name}" for name in changes[0].recalls)]]
    for change in changes:
        intervals = (_points(figure) for figure in (change.balanced_accuracy, change.accuracy))
        recalls = (f"{100 * figure.value:+.1f}" for figure in change.recalls.values())
        rows.append([f"{change.factor:g}", *intervals, *recalls])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _points(change: Estimate) -> str:
    return f"{100 * change.value:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _figures(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    recalls = metrics.recalls(truth, scores)
    return np.array([metrics.mean_of_defined(recalls), metrics.accuracy(truth, scores), *recalls])


def shift_run(run: Path, factor: float, data: Path | None, out: Path, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the run `out`: `run` with the shift `factor`. Return its metrics on validation.

    The new run is what training with `train.shift_to_balance = factor` would have made, and its recipe says so. `data`
    is the folder of the run's images, if it is no longer where `run.json` says.
    """
    refuse_existing(out)
    read = _read(run, data, log)
    layer = read.body.get_layer("evidence")
    kernel, bias = layer.get_weights()
    bias = bias - (factor - read.recipe.train.shift_to_balance) * read.log_shares
    layer.set_weights([kernel, bias.astype(np.float32)])
    logits = np.asarray(read.logits - factor * read.log_shares, np.float32)
    recipe = dataclasses.replace(read.recipe, train=dataclasses.replace(read.recipe.train, shift_to_balance=factor))
    found = validation_metrics(logits, read.truth, read.groups, read.labels)
    training = {key: text for key, text in read.about["training"].items() if key != TOP_CLASS}
    described = read.about | {
        "training": training | top_class_text(recipe),
        "recipe_sha256": recipe_hash(recipe),
        "data": str(read.root.resolve()),
    }
    with new_run(out) as folder:
        shutil.copytree(run, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_REWRITTEN))
        write_recipe(folder / "recipe.toml", recipe)
        write_json(folder / "run.json", described)
        read.body.save(folder / "model.keras")
        write_json(folder / "metrics.json", found)
        for name, content in validation_files(found, logits, read.truth, read.labels).items():
            write_file(folder / name, content.encode())
    return found


def class_shares(train: Manifest, labels: Sequence[str], sources: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Return each class's share of the images that an epoch shows, from the training split and the run's sources.

    Sources that only pretrain do not count. The images of a set of classes are divided in proportion to the others.
    """
    counts = np.array([sum(item.label == label for item in train.items) for label in labels], np.float64)
    sets: list[tuple[list[int], float]] = []
    for source in sources:
        for names, images in source["classes"].items() if not source["pretrain_only"] else ():
            members = [labels.index(name) for name in names.split("|")]
            if len(members) == 1:
                counts[members[0]] += source["weight"] * images
            else:
                sets.append((members, source["weight"] * images))
    alone = counts.copy()
    for members, images in sets:
        of_set = alone[members]
        counts[members] += images * (of_set / of_set.sum() if of_set.sum() else 1 / len(members))
    counts = np.maximum(counts, 1)
    return np.asarray(counts / counts.sum())


def _read(run: Path, data: Path | None, log: Callable[[str], None]) -> _Read:
    """Read the run, and run its network on its validation images."""
    about = read_run_description(run)
    recipe, body = load_recipe(str(run / "recipe.toml")), load_network(run)
    root = data or (Path(about["data"]) if about.get("data") else None)
    if root is None or not root.is_dir():
        raise DataError(f"{root or run}: no such folder: name the folder of the run's images with --data")
    manifest = read_manifest(run / "split.csv", root=root)
    train, validation = manifest.split("train"), manifest.split("val")
    try:
        names = [label["label"] for label in about["labels"]]
        shares = class_shares(train, names, about.get("sources", ()))
        truth = np.array([names.index(item.label) for item in validation.items])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{run}: run.json has a missing or unknown entry: {error}") from error
    labels = load_label_set(recipe.labels) if recipe.labels else plain_label_set(names)
    log(f"evaluating {len(validation.items)} validation images")
    shifted = predict_logits(body, pixel_array(validation, recipe.network.image))
    logits = shifted + recipe.train.shift_to_balance * np.log(shares)
    groups = [item.group for item in validation.items]
    return _Read(recipe, about, root, labels, body, np.log(shares), groups, truth, logits)
