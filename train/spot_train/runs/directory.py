"""The run directory: where training and conversion meet.

recipe.toml   complete and replayable        split.csv     which image was in which part
run.json      labels, image contract, data, environment    model.keras   image → evidence, embedding
history.csv   one row an epoch               history.svg   the same as a picture
metrics.json  on validation, with intervals                  validation.md  the same as tables
confusion.svg which class was taken for which                threshold.svg  where there is a yes-or-no decision
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
from spot_edge.errors import OutputError
from spot_edge.files import write_file
from spot_edge.model.spec import as_data
from spot_train.labels.labelset import LabelSet
from spot_train.loop.checkpoint import Epoch
from spot_train.recipes.recipe import Recipe, recipe_hash, render_recipe

__all__ = [
    "describe_run",
    "describe_weights",
    "new_run",
    "refuse_existing",
    "write_history",
    "write_json",
    "write_recipe",
]


def refuse_existing(out: Path) -> None:
    """OutputError where `out` is there already: a run is never overwritten."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists already: name a new folder for the run")


@contextmanager
def new_run(out: Path) -> Iterator[Path]:
    """A folder to fill, that becomes `out` when all went well and vanishes when it did not."""
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
        raise OutputError(f"{out}: the run cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def describe_run(recipe: Recipe, labels: LabelSet, split: Path, data: Path | None, weights: str) -> dict[str, Any]:
    """The content of `run.json`; `weights` is what the weights started from, as `load_pretrained` takes it."""
    return {
        "schema": SCHEMA,
        "name": recipe.name,
        "labels": [as_data(label) for label in labels.labels],
        "image": {"size": recipe.network.size, "geometry": "stretch", "filter": "bilinear-antialias"},
        "training": {"data": labels.data, "licence": labels.licence, "notice": labels.notice},
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


def describe_weights(weights: str) -> dict[str, str | None]:
    """What the weights started from: its name, and the digest of a file."""
    path = Path(weights)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return {"name": path.name, "sha256": digest}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """`data` as readable JSON at `path`."""
    write_file(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """One row an epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in dataclasses.fields(Epoch)], lineterminator="\n")
    writer.writeheader()
    for epoch in history:
        row = dataclasses.asdict(epoch)
        writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    write_file(path, text.getvalue().encode())


def write_recipe(path: Path, recipe: Recipe) -> None:
    """The complete recipe."""
    write_file(path, render_recipe(recipe).encode())
