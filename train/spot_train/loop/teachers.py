"""Distillation: soft labels from finished runs, about each training image or about several augmented views of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest, read_manifest
from spot_bench.run.directory import read_run_description, read_sources
from spot_bench.stats.calibration import softmax
from spot_edge.errors import DataError
from spot_edge.model.spec import ImageSpec
from spot_train.data.augment import DRAWS, RandomAugmentation
from spot_train.data.leaks import Divided, named_leaks, refuse
from spot_train.data.pixels import PixelStack, cached_pixels, pixels_key
from spot_train.data.sharpness import Sharpness
from spot_train.data.views import Views, mix_targets, permitted_predictions, view_draws
from spot_train.labels.labelset import LabelSet
from spot_train.loop.fit import Interrupted, predict_logits
from spot_train.loop.losses import allowed_classes
from spot_train.loop.progress import Progress, StopRequest
from spot_train.network.folding import fold_frozen
from spot_train.network.network import freeze_batch_norm
from spot_train.recipes.recipe import Recipe, Train
from spot_train.runs.directory import load_network, network_file

__all__ = [
    "check_teachers",
    "check_weights",
    "distilled_targets",
    "permitted_classes",
    "teacher_digests",
    "teacher_training",
    "teacher_views",
]

_BATCH = 32


def check_teachers(train: Train, labels: LabelSet, manifest: Manifest) -> None:
    """Check that every teacher is a finished run with the same classes that fits the data; DataError if not.

    A teacher that trained on an image or a group that `manifest` holds out is refused: its predictions would leak it.
    """
    wanted = [label.label for label in labels.labels]
    data = Divided.of(manifest)
    for name in train.teachers:
        known = [label["label"] for label in read_run_description(Path(name))["labels"]]
        if known != wanted:
            raise DataError(f"{name}: this teacher has different classes ({', '.join(known)})")
        _refuse_leaks(Path(name), f"teacher {name}", data, "a teacher")


def check_weights(weights: str, manifest: Manifest, log: Callable[[str], None]) -> None:
    """Check that the starting weights saw no image and no group that `manifest` holds out; DataError if they did.

    `weights` is an argument of `load_pretrained`. Only a run directory lists its training images, so `log` gets a note
    if the `model.keras` is elsewhere, or if that run learned from other runs: their training images are not checked.
    """
    path = Path(weights)
    if path.suffix != ".keras":
        return
    if (path.parent / "run.json").is_file():
        _refuse_leaks(path.parent, f"--weights {weights}", Divided.of(manifest), "weights")
        if _learned_from_runs(path.parent):
            log(f"note: the run of {weights} learned from other runs: their training images are not checked for leaks")
    elif path.is_file():  # if not, `check_pretrained` says so
        log(f"note: {weights} is not in a run directory, so its training images cannot be checked for leaks")


def _learned_from_runs(run: Path) -> bool:
    """Return whether `run`, or a run that it is the mean of, had teachers or started from a run; true if unknown."""
    about = read_run_description(run)
    if str(about.get("weights", {}).get("name", "")).endswith(".keras"):
        return True
    try:
        recipes = [(run / "recipe.toml").read_text(encoding="utf-8"), *about.get("mean_of", ())]
        return any(tomllib.loads(recipe).get("train", {}).get("teachers") for recipe in recipes)
    except (OSError, ValueError):
        return True


def _refuse_leaks(run: Path, name: str, data: Divided, what: str) -> None:
    """Raise DataError if `run` trained on an image or a group that `data` holds out."""
    taught = (read_manifest(run / "split.csv", check_files=False), *read_sources(run))
    found = [leak for part in taught for leak in named_leaks(Divided.of(part, name=name, is_source=True), data)]
    advice = f"Choose {what} trained with the same split as the data, or rename what has the same name only by chance"
    refuse(found, advice)


def teacher_digests(train: Train) -> list[str]:
    """Return the SHA-256 of each teacher's network. DataError if one cannot be read."""
    return [_digest(name) for name in train.teachers]


def teacher_training(train: Train) -> list[dict[str, str]]:
    """Return the data and licence that each teacher was trained with, from its `run.json`."""
    return [read_run_description(Path(name)).get("training", {}) for name in train.teachers]


def permitted_classes(
    classes: NDArray[np.int64], sets: Sequence[Sequence[int]], number: int
) -> NDArray[np.bool_] | None:
    """Return the indicator rows for `permitted_predictions`, or None if no image is labelled with a set.

    `classes` holds a class or, from `number` on, a set for each image, as in Examples.
    """
    of_sets = classes >= number
    if not of_sets.any():
        return None
    permitted = np.ones((len(classes), number), bool)
    permitted[of_sets] = allowed_classes(sets, number)[classes[of_sets]]
    return permitted


def distilled_targets(
    targets: NDArray[np.float32],
    settings: Train,
    train: Manifest,
    folder: Path,
    permitted: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Mix `targets` with the teachers' mean prediction for each training image, without augmentation.

    Targets have a column for each class and then for each set of classes. `permitted` has an indicator row for each
    image that restricts the teachers' prediction: see `permitted_predictions`.
    """
    total: Any = 0
    for name in settings.teachers:
        body = load_network(Path(name))
        spec = ImageSpec(**read_run_description(Path(name))["image"])
        logits = predict_logits(body, cached_pixels(train, spec, folder))
        total = total + softmax(logits / settings.teacher_temperature)
    predictions = np.asarray(total / len(settings.teachers), np.float32)
    if permitted is not None:
        predictions = permitted_predictions(predictions, permitted)
    return mix_targets(targets, predictions, settings.teacher_share)


def teacher_views(
    recipe: Recipe,
    manifests: Sequence[Manifest],
    sharpness: Sharpness | None,
    permitted: NDArray[np.bool_] | None,
    folder: Path,
    log: Callable[[str], None],
    stop: StopRequest,
) -> Views:
    """Return the teachers' mean predictions about `train.teacher_views` augmented views of the images of `manifests`.

    Each teacher sees crops of its own input size, cut from images of at least that size. Its logits are cached in
    `folder`, a file for each teacher and view, so an interrupted pass continues with the next view, and recipes that
    differ only in the network, the schedule or the temperature share them. More views only add files. All logits of a
    teacher are made anew if one of these changes: its `model.keras`, the image files or their order, `augment`,
    `train.seed`, the side of the stored images, the side or the images that `augment.sharpness` reduces, the version of
    spot-edge or Pillow. A damaged file is made anew alone.
    """
    settings = recipe.train
    total: Any = 0
    for name in settings.teachers:
        views = _logits(name, recipe, manifests, sharpness, folder, log, stop)
        total = total + np.stack([softmax(v.astype(np.float32) / settings.teacher_temperature) for v in views])
    predictions = total / len(settings.teachers)
    if permitted is not None:
        predictions = permitted_predictions(predictions, permitted)
    return Views(settings.seed, settings.teacher_share, predictions.astype(np.float16))


def _logits(
    name: str,
    recipe: Recipe,
    manifests: Sequence[Manifest],
    sharpness: Sharpness | None,
    folder: Path,
    log: Callable[[str], None],
    stop: StopRequest,
) -> Iterator[NDArray[np.float16]]:
    """Yield one teacher's logits of every image for each view, from the cache where it has them."""
    settings, number = recipe.train, sum(len(manifest.items) for manifest in manifests)
    body = load_network(Path(name))
    size, classes = body.input_shape[1], body.output["evidence"].shape[-1]
    side = max(settings.stored_size, size)
    key = [
        _digest(name),
        [pixels_key(manifest) for manifest in manifests],
        dataclasses.asdict(recipe.augment),
        [settings.seed, side, sharpness.key() if sharpness else [], DRAWS],
    ]
    start = folder / f"teacher-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    model: Any = None
    progress = Progress(log)
    for view in range(settings.teacher_views):
        path = start.with_name(f"{start.name}-view{view}.npz")
        logits = _cached(path, (number, classes))
        if logits is None:
            if model is None:
                pixels = PixelStack([cached_pixels(manifest, ImageSpec(side), folder) for manifest in manifests])
                freeze_batch_norm(body)
                model = _augmenting(fold_frozen(body), recipe, side)
            begun = time.perf_counter()
            draws = view_draws(settings.seed, view, number)
            logits = _predicted(model, pixels, sharpness, draws, (view, settings.teacher_views), progress, stop)
            _save(path, logits)
            speed = number / (time.perf_counter() - begun)
            log(f"teacher {name}: view {view + 1}/{settings.teacher_views} ({speed:.0f} images/s)")
        yield logits


def _augmenting(body: Any, recipe: Recipe, side: int) -> Any:
    """Return a model from images and random numbers to the teacher's logits."""
    inputs = [keras.Input((side, side, 3), dtype="uint8"), keras.Input((DRAWS,), dtype="float32")]
    images = RandomAugmentation(recipe.augment, body.input_shape[1])(*inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D(dtype="float32")(body(images)["evidence"]))


def _predicted(
    model: Any,
    pixels: PixelStack,
    sharpness: Sharpness | None,
    draws: NDArray[np.float32],
    view: tuple[int, int],
    progress: Progress,
    stop: StopRequest,
) -> NDArray[np.float16]:
    """Return the logits of one view, from batches of one shape. The speed leaves out the first, which compiles."""
    number = len(pixels)
    result, begun = [], time.perf_counter()
    for first in range(0, number, _BATCH):
        rows = np.minimum(np.arange(first, first + _BATCH), number - 1)  # fills the last batch with its last image
        images = pixels[rows] if sharpness is None else sharpness.apply(pixels[rows], rows, draws[rows, -1])
        predicted = model.predict_on_batch([images, draws[rows]])
        result.append(np.asarray(predicted, np.float16)[: number - first])
        done = first + _BATCH
        if first == 0:
            begun = time.perf_counter()
        elif done < number:
            speed = first / (time.perf_counter() - begun)
            left = (number * (view[1] - view[0]) - done) / speed
            progress.step("teacher", view[0] + 1, view[1], done / number, speed, left)
        if stop.raised:
            raise Interrupted
    return np.concatenate(result)


def _digest(name: str) -> str:
    try:
        return hashlib.sha256(network_file(Path(name)).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{name}: cannot read its model.keras: {error.strerror or error}") from error


def _cached(path: Path, shape: tuple[int, int]) -> NDArray[np.float16] | None:
    """Return the logits in the file, or None if it is absent or damaged."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:  # numpy leaves the file of a damaged archive open
            logits: NDArray[np.float16] = arrays["logits"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return logits if logits.shape == shape and logits.dtype == np.float16 else None


def _save(path: Path, logits: NDArray[np.float16]) -> None:
    temporary = path.with_suffix(".partial")
    try:
        with temporary.open("wb") as file:
            np.savez(file, logits=logits)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"{path.parent}: cannot cache the teacher's predictions there: {error.strerror or error}"
        ) from error
