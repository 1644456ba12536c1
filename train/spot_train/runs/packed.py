"""A run in small: all of a run directory but its Keras file, whose weights are kept as float16."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spot_bench.run.directory import read_run_description
from spot_edge.errors import DataError
from spot_edge.files import write_file
from spot_train.network.network import build_body
from spot_train.recipes.recipe import load_recipe
from spot_train.runs.directory import new_run, write_json

__all__ = ["WEIGHTS", "pack", "restore"]

WEIGHTS = "weights-f16.npz"
_KEPT = ("recipe.toml", "split.csv", "history.csv", "metrics.json")
_KEPT_IF_THERE = ("history.svg", "validation.md", "confusion.svg", "threshold.svg")


def pack(run: Path, out: Path) -> None:
    """The run at `run`, in small, as a new folder `out`."""
    described = read_run_description(run)
    try:
        body = keras.saving.load_model(run / "model.keras")
    except (OSError, ValueError) as error:
        raise DataError(f"{run}: its model.keras cannot be opened: {error}") from error
    arrays = {
        _key(i, variable): _small(keras.ops.convert_to_numpy(variable)) for i, variable in enumerate(body.weights)
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    with new_run(out) as folder:
        _copy_kept(run, folder)
        write_json(folder / "run.json", described | {"data": None})
        write_file(folder / WEIGHTS, packed.getvalue())


def restore(small: Path, out: Path, data: Path | None = None) -> None:
    """A whole run directory at `out` from the small one at `small`; `data` is where its images lie."""
    described = read_run_description(small)
    recipe = load_recipe(str(small / "recipe.toml"))
    body = build_body(recipe.network, len(described["labels"]))
    try:
        with np.load(small / WEIGHTS) as arrays:
            body.set_weights([arrays[_key(i, v)].astype(np.float32) for i, v in enumerate(body.weights)])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{small}: its {WEIGHTS} does not fit its recipe: {error}") from error
    with new_run(out) as folder:
        _copy_kept(small, folder)
        write_json(folder / "run.json", described | {"data": str(data.resolve()) if data else None})
        body.save(folder / "model.keras")


def _copy_kept(source: Path, folder: Path) -> None:
    for name in (*_KEPT, *(name for name in _KEPT_IF_THERE if (source / name).is_file())):
        shutil.copyfile(source / name, folder / name)


def _key(index: int, variable: Any) -> str:
    return f"{index:03d} {variable.path}".replace("/", ".")


def _small(array: Any) -> Any:
    """Kernels as float16; vectors (batch norm, biases) are few and stay exact."""
    return array.astype(np.float16) if array.ndim > 1 else array
