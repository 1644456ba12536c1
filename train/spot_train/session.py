"""One training session: data and a recipe in, a run directory out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.manifest import Manifest, read_manifest, write_manifest
from spot_bench.splits import split
from spot_edge.errors import DataError
from spot_edge.files import write_whole
from spot_train.fit import Epoch, fit, predict_logits
from spot_train.labelset import LabelSet, load_label_set, plain_label_set
from spot_train.network import check_trunk, load_trunk
from spot_train.pixels import cached_pixels
from spot_train.plots import history_svg
from spot_train.recipe import Recipe
from spot_train.rundir import describe_run, new_run, refuse_existing, write_history, write_json, write_recipe
from spot_train.validation import validation_metrics

__all__ = ["train_run"]

FEWEST_TO_CALIBRATE = 8  # spot_convert refuses fewer


def train_run(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    trunk: str = "imagenet",
    cache: Path | None = None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train `recipe` on the data set at `data` and leave a run directory at `out`; its validation metrics.

    `trunk` is what `spot_train.network.load_trunk` takes; decoded pictures are kept in the folder `cache`, or
    without one only while training goes on. All that can be refused is refused before training starts.
    """
    refuse_existing(out)
    manifest = read_manifest(data)
    labels = load_label_set(recipe.labels) if recipe.labels else plain_label_set(manifest.labels)
    known = [label.label for label in labels.labels]
    strangers = sorted(set(manifest.labels) - set(known))
    if strangers:
        raise DataError(
            f"{data}: the label {strangers[0]!r} is not in the label set {recipe.labels!r} ({', '.join(known)})"
        )
    if len(known) < 2:
        raise DataError(f"{data}: has one class only: there is nothing to tell apart")
    given_split = bool(manifest.parts)
    if not given_split:
        manifest = split(manifest, seed=0)
        say(f"split by group: {', '.join(f'{p} {len(manifest.part(p).items)}' for p in manifest.parts)} images")
    train, val = manifest.part("train"), manifest.part("val")
    absent = [label for label in known if label not in train.labels]
    if absent:
        raise DataError(f"{data}: no training image is labelled {absent[0]!r}")
    for problem in _worth_saying(manifest, val):
        say(problem)
    check_trunk(recipe.network, trunk)
    with _pixel_folder(cache, out) as folder:
        say(f"decoding {len(train.items)} training and {len(val.items)} validation images")
        train_pixels = cached_pixels(train, recipe.train.stored_size, folder)
        val_pixels = cached_pixels(val, recipe.network.size, folder)
        body, history = fit(
            recipe,
            train_pixels,
            _indices(train, known),
            len(known),
            lambda body: load_trunk(body, recipe.network, trunk),
            lambda epoch: say(_line(epoch, recipe)),
        )
        logits = predict_logits(body, val_pixels)
    metrics = validation_metrics(logits, _indices(val, known), [i.group for i in val.items], labels)
    with new_run(out) as folder:
        _write(folder, recipe, labels, manifest, data, given_split, trunk)
        body.save(folder / "model.keras")
        write_history(folder / "history.csv", history)
        write_whole(folder / "history.svg", history_svg(history).encode())
        write_json(folder / "metrics.json", metrics)
    return metrics


@contextmanager
def _pixel_folder(cache: Path | None, out: Path) -> Iterator[Path]:
    """Where decoded pictures lie: `cache`, or a folder beside `out` that goes when training ends."""
    if cache is not None:
        yield cache
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-pixels-", dir=out.parent) as folder:
        yield Path(folder)


def _worth_saying(manifest: Manifest, val: Manifest) -> Iterator[str]:
    """What will hurt later and is cheap to mend now."""
    calibrating = sum(item.split == "calibrate" for item in manifest.items)
    if calibrating < FEWEST_TO_CALIBRATE:
        yield f"note: {calibrating} images in the calibrate part: int8 needs at least {FEWEST_TO_CALIBRATE}"
    absent = sorted(set(manifest.labels) - set(val.labels))
    if absent:
        yield f"note: no validation image is labelled {', '.join(absent)}: nothing will be known about it"


def _write(
    folder: Path, recipe: Recipe, labels: LabelSet, manifest: Manifest, data: Path, given_split: bool, trunk: str
) -> None:
    write_recipe(folder / "recipe.toml", recipe)
    root = data if data.is_dir() else data.parent
    if given_split:
        shutil.copyfile(data, folder / "split.csv")  # byte for byte: a frozen split has a digest
    else:
        write_manifest(manifest, folder / "split.csv", root=root)
    write_json(folder / "run.json", describe_run(recipe, labels, folder / "split.csv", root, trunk))


def _indices(manifest: Manifest, labels: list[str]) -> NDArray[np.int64]:
    number = {label: index for index, label in enumerate(labels)}
    return np.array([number[item.label] for item in manifest.items], np.int64)


def _line(epoch: Epoch, recipe: Recipe) -> str:
    left = (epoch.epochs - epoch.epoch) * epoch.seconds
    return (
        f"{epoch.phase:>4} {epoch.epoch:3}/{epoch.epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.3f}  "
        f"{epoch.images_per_second:.0f} images/s  {left / 60:.0f} min left"
    )
