"""Write a run directory, the output of training and the input of conversion.

recipe.toml   complete and replayable        split.csv     the split of each image
run.json      labels, image contract, data, environment    model.keras   image → evidence, embedding
history.csv   one row per epoch              history.svg   the same as a plot
metrics.json  on validation, with intervals                  validation.md  the same as tables
confusion.svg the confusion matrix           threshold.svg  if there is a yes-or-no decision
sources/      the training images of each extra source
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from spot_bench.run.directory import SCHEMA
from spot_edge.errors import DataError, OutputError, first_line
from spot_edge.files import write_file
from spot_edge.model.spec import as_data
from spot_train.labels.labelset import LabelSet
from spot_train.loop.checkpoint import Epoch
from spot_train.recipes.recipe import Recipe, recipe_hash, render_recipe

__all__ = [
    "TOP_CLASS",
    "describe_run",
    "describe_weights",
    "load_network",
    "network_file",
    "new_run",
    "refuse_existing",
    "top_class_text",
    "write_history",
    "write_json",
    "write_recipe",
]

TOP_CLASS = "top_class"  # in `training`, of run.json and of spot.json: what the top class optimizes


def network_file(run: Path) -> Path:
    """Return the path of the run's network. DataError if it is absent, as in a packed run."""
    path = run / "model.keras"
    if not path.is_file():
        raise DataError(f"{run}: cannot open its model.keras. Restore a packed run with `spot-edge runs restore`")
    return path


def load_network(run: Path) -> Any:
    """Return the run's network. DataError if it is absent or damaged."""
    path = network_file(run)
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{run}: cannot open its model.keras: {first_line(error)}") from error


def refuse_existing(out: Path) -> None:
    """Raise OutputError if `out` exists: a run is never overwritten."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: already exists. Name a new folder with --out")


@contextmanager
def new_run(out: Path) -> Iterator[Path]:
    """Yield a folder to fill. It becomes `out` on success and is removed on failure."""
    refuse_existing(out)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.is_dir():
            out.rmdir()
        os.replace(partial, out)
    except OSError as error:
        raise OutputError(f"{out}: cannot write the run: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def describe_run(recipe: Recipe, labels: LabelSet, split: Path, data: Path | None, weights: str) -> dict[str, Any]:
    """Return the content of `run.json`. `weights` is an argument of `load_pretrained`."""
    return {
        "schema": SCHEMA,
        "name": recipe.name,
        "labels": [as_data(label) for label in labels.labels],
        "image": recipe.network.image._asdict(),
        "training": {"data": labels.data, "licence": labels.licence, "notice": labels.notice} | top_class_text(recipe),
        "recipe_sha256": recipe_hash(recipe),
        "split_sha256": hashlib.sha256(split.read_bytes()).hexdigest(),
        "weights": describe_weights(weights),
        "data": str(data.resolve()) if data else None,
        "environment": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": keras.config.backend(),
            "machine": platform.machine(),
        },
    }


def top_class_text(recipe: Recipe) -> dict[str, str]:
    """Return the entry of `training` that says whether the top class favors rare classes."""
    factor = recipe.train.shift_to_balance
    if not factor:
        return {}
    return {TOP_CLASS: f"favors rare classes: each logit is lowered by {factor:g} log(class share in training)"}


def describe_weights(weights: str) -> dict[str, str | None]:
    """Return the name of the pretrained weights, and the digest if they come from a file."""
    path = Path(weights)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return {"name": path.name, "sha256": digest}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write `data` to `path` as readable JSON."""
    write_file(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write one row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in dataclasses.fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    for epoch in history:
        row = dataclasses.asdict(epoch)
        writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    write_file(path, text.getvalue().encode())


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write the complete recipe."""
    write_file(path, render_recipe(recipe).encode())
