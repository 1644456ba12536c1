"""Run one training session: from data and a recipe to a run directory. Resumes an interrupted session."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest, read_manifest, write_manifest
from spot_bench.data.splits import split
from spot_bench.stats import metrics as measures
from spot_bench.stats.calibration import softmax
from spot_edge.errors import DataError, OutputError
from spot_edge.files import make_folder, write_file
from spot_edge.model.old_names import current_run
from spot_edge.model.spec import ImageSpec
from spot_train.data.batches import Examples, Part, class_counts, class_weights, with_sets
from spot_train.data.extra import (
    Extra,
    class_sets,
    read_extras,
    refuse_leaks,
    repeated,
    with_sources,
    with_training,
    write_sources,
)
from spot_train.data.pixels import PixelStack, cached_pixels
from spot_train.data.sharpness import sharpness_of
from spot_train.labels.labelset import LabelSet, load_label_set, plain_label_set
from spot_train.loop.checkpoint import Checkpoint
from spot_train.loop.fit import Interrupted, fit, predict_logits
from spot_train.loop.progress import Progress, StopRequest, stop_on_signals
from spot_train.loop.teachers import (
    check_teachers,
    check_weights,
    distilled_targets,
    permitted_classes,
    teacher_digests,
    teacher_training,
    teacher_views,
)
from spot_train.network.network import check_pretrained, load_pretrained
from spot_train.recipes.recipe import Recipe, recipe_hash
from spot_train.report.page import validation_files
from spot_train.report.plots import history_svg
from spot_train.report.validation import validation_metrics
from spot_train.runs.directory import (
    describe_run,
    describe_weights,
    new_run,
    refuse_existing,
    write_history,
    write_json,
    write_recipe,
)

__all__ = ["Task", "read_task", "train_run", "unfinished_folder"]

FEWEST_TO_CALIBRATE = 8  # the minimum of spot_convert


@dataclass(frozen=True, slots=True)
class Task:
    """What to learn: the images with their splits, and the classes in the order of the network's outputs.

    `extras` are further training images.
    """

    data: Path
    manifest: Manifest
    labels: LabelSet
    given_split: bool
    extras: tuple[Extra, ...] = ()

    def indices(self, manifest: Manifest) -> NDArray[np.int64]:
        """Return the class index of each image of `manifest`."""
        number = {label.label: index for index, label in enumerate(self.labels.labels)}
        return np.array([number[item.label] for item in manifest.items], np.int64)

    def digest(self) -> str:
        """Return a hash of every image's name, label, group and split, and of the extra sources."""
        rows: list[Any] = [[self.manifest.name(i), i.label, i.group, i.split] for i in self.manifest.items]
        rows += [[extra.source.name, extra.rows()] for extra in self.extras]
        return hashlib.sha256(json.dumps(rows).encode(errors="surrogateescape")).hexdigest()


def train_run(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    weights: str = "imagenet",
    sources: Mapping[str, Path] | None = None,
    cache: Path | None = None,
    resume: bool = False,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Train `recipe` on the data set at `data`, write a run directory at `out`, and return its validation metrics.

    `sources` names the manifest of each source of the recipe. `weights` is an argument of `load_pretrained`. Decoded
    images are cached in the folder `cache`, or until training ends if there is none. Invalid input is refused before
    training starts. Ctrl-C and SIGTERM raise Interrupted and keep the state in `unfinished_folder(out)`, from which
    `resume` continues.
    """
    refuse_existing(out)
    task = read_task(recipe, data, log, sources or {})
    check_weights(weights, task.manifest, log)
    check_pretrained(recipe.network, weights)
    check_teachers(recipe.train, task.labels, task.manifest)
    taught = teacher_training(recipe.train)
    train, val = task.manifest.split("train"), task.manifest.split("val")
    stop = StopRequest()
    with _unfinished(out, recipe, task, weights, resume) as folder, stop_on_signals(stop, log):
        pixels = cache or folder
        number = len(train.items) + sum(len(extra.manifest.items) for extra in task.extras)
        log(f"decoding {number} training and {len(val.items)} validation images")
        examples = _examples(recipe, task, train, pixels, log, stop)
        val_pixels, truth = cached_pixels(val, recipe.network.image, pixels), task.indices(val)
        if stop.raised:
            raise Interrupted

        def validate(body: Any) -> tuple[float, float]:
            scores = softmax(predict_logits(body, val_pixels))
            return measures.log_loss(truth, scores), measures.balanced_accuracy(truth, scores)

        body, history = fit(
            recipe,
            examples,
            lambda body: load_pretrained(body, recipe.network, weights),
            validate,
            Checkpoint(folder),
            Progress(log),
            stop,
        )
        logits = predict_logits(body, val_pixels)
        metrics = validation_metrics(logits, truth, [i.group for i in val.items], task.labels)
        with new_run(out) as run:
            _write(run, recipe, task, weights, taught)
            body.save(run / "model.keras")
            write_history(run / "history.csv", history)
            write_file(run / "history.svg", history_svg(history).encode())
            write_json(run / "metrics.json", metrics)
            for name, content in validation_files(metrics, logits, truth, task.labels).items():
                write_file(run / name, content.encode())
    return metrics


def unfinished_folder(out: Path) -> Path:
    """Return the folder where the training of the run `out` keeps its state until it is done."""
    return out.with_name(f"{out.name}.unfinished")


def read_task(
    recipe: Recipe, data: Path, log: Callable[[str], None], sources: Mapping[str, Path] | None = None
) -> Task:
    """Read and split the data set at `data`, with the classes of `recipe`. DataError if it cannot be trained on.

    `sources` names the manifest of each source of the recipe. None leaves the sources out, for evaluation.
    """
    manifest = read_manifest(data)
    labels = load_label_set(recipe.labels) if recipe.labels else plain_label_set(manifest.labels)
    manifest = labels.apply(manifest)
    known = [label.label for label in labels.labels]
    unknown = sorted(set(manifest.labels) - set(known))
    if unknown:
        raise DataError(
            f"{data}: the label {unknown[0]!r} is not in the label set {recipe.labels!r} ({', '.join(known)})"
        )
    if len(known) < 2:
        raise DataError(f"{data}: only one class: training needs at least two")
    given_split = bool(manifest.splits)
    if not given_split:
        manifest = split(manifest, seed=0)
        log(f"split by group: {', '.join(f'{p} {len(manifest.split(p).items)}' for p in manifest.splits)} images")
    train, val = manifest.split("train"), manifest.split("val")
    extras = () if sources is None else read_extras(recipe.sources, sources, labels)
    refuse_leaks(manifest, extras)
    lasting = (extra for extra in extras if not extra.source.pretrain_only)
    taught = {*train.labels, *(known[a[0]] for extra in lasting for a in extra.allowed if len(a) == 1)}
    absent = [label for label in known if label not in taught]
    if absent and not (sources is None and recipe.sources):
        beside = " (sources with pretrain_only do not count)" if any(e.source.pretrain_only for e in extras) else ""
        raise DataError(f"{data}: no training image is labelled {absent[0]!r}{beside}")
    for key, named in (("train.class_weights", recipe.train.class_weights), ("gate.recall", recipe.gate.recall)):
        unknown = sorted(set(named) - set(known))
        if unknown:
            raise DataError(f"{key}: no class is called {unknown[0]!r} ({', '.join(known)})")
    for note in (*_notes(manifest, val), *repeated(manifest, extras)):
        log(note)
    return Task(data, manifest, labels, given_split, extras)


def _examples(
    recipe: Recipe, task: Task, train: Manifest, folder: Path, log: Callable[[str], None], stop: StopRequest
) -> Examples:
    settings, number, extras = recipe.train, len(task.labels.labels), task.extras
    sets, parts = class_sets(extras), _parts(len(train.items), extras)
    row = {members: number + index for index, members in enumerate(sets)}
    own = task.indices(train)
    classes = np.concatenate([own, *(np.array([row.get(a, a[0]) for a in e.allowed], np.int64) for e in extras)])
    counts = class_counts(classes, number, sets, parts)
    factors = [settings.class_weights.get(label.label, 1.0) for label in task.labels.labels]
    weights = class_weights(counts, settings.class_weight_power) * np.array(factors, np.float32)
    targets = np.eye(number + len(sets), dtype=np.float32)[classes]
    manifests = (train, *(extra.manifest for extra in extras))
    sources, sizes = [extra.source for extra in extras], [len(manifest.items) for manifest in manifests]
    natives = (0, *(source.native for source in sources))
    sharpness = at_last = sharpness_of(recipe.augment.sharpness, natives, sizes)
    if not settings.teacher_views:  # the teachers' predictions are about images reduced to one side
        natives = (0, *(0 if source.pretrain_only else source.native for source in sources))
        at_last = sharpness_of(recipe.augment.sharpness, natives, sizes)
    permitted = permitted_classes(classes, sets, number)
    views = None
    if settings.teacher_views:
        views = teacher_views(recipe, manifests, sharpness, permitted, folder, log, stop)
    elif settings.teachers:
        every = replace(train, items=tuple(item for manifest in manifests for item in manifest.items), folder=None)
        targets = distilled_targets(targets, settings, every, folder, permitted)
    pixels = [cached_pixels(manifest, ImageSpec(settings.stored_size), folder) for manifest in manifests]
    return Examples(
        PixelStack(pixels) if extras else pixels[0],
        classes,
        targets,
        with_sets(weights, counts, sets)[classes],
        sets,
        parts,
        sharpness,
        at_last,
        views,
    )


def _parts(first: int, extras: tuple[Extra, ...]) -> tuple[Part, ...]:
    parts: list[Part] = []
    for extra in extras:
        last = first + len(extra.allowed)
        parts.append(Part(first, last, extra.source.weight, extra.source.pretrain_only))
        first = last
    return tuple(parts)


@contextmanager
def _unfinished(out: Path, recipe: Recipe, task: Task, weights: str, resume: bool) -> Iterator[Path]:
    """Keep the state of a training in a folder; remove it when the run is complete, or if no step was finished."""
    folder = unfinished_folder(out)
    start: dict[str, Any] = {
        "recipe": recipe_hash(recipe),
        "data": task.digest(),
        "weights": describe_weights(weights),
        "backend": keras.config.backend(),
    }
    if recipe.train.teachers:  # the recipe has only their paths
        start["teachers"] = teacher_digests(recipe.train)
    if resume:
        _refuse_other(folder, start)
    elif folder.exists():
        raise OutputError(f"{folder}: unfinished training. Continue it with --resume, or remove the folder")
    else:
        make_folder(folder)
        write_json(folder / "start.json", start)
    try:
        yield folder
    except BaseException:
        if Checkpoint(folder).position() is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _refuse_other(folder: Path, start: dict[str, Any]) -> None:
    try:
        before = current_run(json.loads((folder / "start.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{folder}: no unfinished training to resume") from error
    changed = [key for key in start if before.get(key) != start[key]]
    if changed:
        raise DataError(f"{folder}: started with different {changed[0]}. Resume with the same, or choose another --out")


def _notes(manifest: Manifest, val: Manifest) -> Iterator[str]:
    """Yield notes about problems that are cheap to fix before training."""
    calibrating = sum(item.split == "calibrate" for item in manifest.items)
    if calibrating < FEWEST_TO_CALIBRATE:
        yield f"note: {calibrating} calibration images; int8 conversion needs at least {FEWEST_TO_CALIBRATE}"
    absent = sorted(set(manifest.labels) - set(val.labels))
    if absent:
        yield f"note: no validation image is labelled {', '.join(absent)}; validation cannot measure it"


def _write(folder: Path, recipe: Recipe, task: Task, weights: str, taught: Sequence[Mapping[str, str]]) -> None:
    write_recipe(folder / "recipe.toml", recipe)
    root = task.data if task.data.is_dir() else task.data.parent
    if task.given_split and not task.labels.merges:
        shutil.copyfile(task.data, folder / "split.csv")  # byte for byte, because a frozen split has a digest
    else:
        write_manifest(task.manifest, folder / "split.csv", root=root)
    write_sources(task.extras, folder)
    described = describe_run(recipe, task.labels, folder / "split.csv", root, weights)
    write_json(folder / "run.json", with_training(with_sources(described, task.extras), taught))
