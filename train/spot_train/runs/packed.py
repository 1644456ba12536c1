"""Pack a run for a repository: keep everything but the Keras file, and store its weights as float16."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spot_bench.run.directory import SOURCES, read_run_description
from spot_edge.errors import DataError
from spot_edge.files import write_file
from spot_train.network.network import build_body
from spot_train.recipes.recipe import load_recipe
from spot_train.runs.directory import load_network, new_run, write_json

__all__ = ["WEIGHTS", "pack", "restore"]

WEIGHTS = "weights-f16.npz"
_KEPT = ("recipe.toml", "split.csv", "history.csv", "metrics.json")
_KEPT_IF_PRESENT = ("history.svg", "validation.md", "confusion.svg", "threshold.svg")


def pack(run: Path, out: Path) -> None:
    """Pack the run at `run` into the new folder `out`."""
    described = read_run_description(run)
    body = load_network(run)
    arrays = {
        _key(i, variable): _small(keras.ops.convert_to_numpy(variable)) for i, variable in enumerate(body.weights)
    }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    with new_run(out) as folder:
        _copy_kept(run, folder)
        write_json(folder / "run.json", described | {"data": None})
        write_file(folder / WEIGHTS, packed.getvalue())


def restore(packed: Path, out: Path, data: Path | None = None) -> None:
    """Rebuild a run directory at `out` from the packed run `packed`. `data` is the folder of its images."""
    described = read_run_description(packed)
    recipe = load_recipe(str(packed / "recipe.toml"))
    body = build_body(recipe.network, len(described["labels"]))
    try:
        with (packed / WEIGHTS).open("rb") as file, np.load(file) as arrays:
            body.set_weights([arrays[_key(i, v)].astype(np.float32) for i, v in enumerate(body.weights)])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{packed}: its {WEIGHTS} does not fit its recipe: {error}") from error
    with new_run(out) as folder:
        _copy_kept(packed, folder)
        write_json(folder / "run.json", described | {"data": str(data.resolve()) if data else None})
        body.save(folder / "model.keras")


def _copy_kept(source: Path, folder: Path) -> None:
    for name in (*_KEPT, *(name for name in _KEPT_IF_PRESENT if (source / name).is_file())):
        shutil.copyfile(source / name, folder / name)
    if (source / SOURCES).is_dir():
        shutil.copytree(source / SOURCES, folder / SOURCES)


def _key(index: int, variable: Any) -> str:
    return f"{index:03d} {variable.path}".replace("/", ".")


def _small(array: Any) -> Any:
    """Return kernels as float16. Vectors (batch norm, biases) are small and stay exact."""
    return array.astype(np.float16) if array.ndim > 1 else array
