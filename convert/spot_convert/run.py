"""Reading a run directory, the only thing that training and conversion share."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from spot_bench.data.manifest import Manifest, read_manifest
from spot_bench.drift.gate import Margins, margins_from
from spot_bench.run.directory import read_run_description
from spot_bench.run.settings import Budget, Retraining, budget_from, retraining_from
from spot_edge.errors import DataError
from spot_edge.model.spec import ImageSpec, Label

__all__ = ["Run", "read_run"]


@dataclass(frozen=True, slots=True)
class Run:
    """A trained network and what is known about it."""

    name: str
    body: Any  # the Keras network: image (uint8) → evidence, embedding
    pixel_scale: float  # of its first layer: x * scale + offset
    pixel_offset: float
    labels: tuple[Label, ...]
    image: ImageSpec
    manifest: Manifest
    margins: Margins  # what quantizing may cost
    provenance: Mapping[str, str]  # data, licence, notice and digests, as they go into spot.json
    retraining: Retraining = field(default_factory=Retraining)  # of the variants that train
    budget: Budget = field(default_factory=Budget)  # of those with layers in different numbers


def read_run(path: Path, data: Path | None = None) -> Run:
    """The run in the folder `path`; `data` overrides the folder that its images lie in."""
    about = read_run_description(path)
    root = data or (Path(about["data"]) if about.get("data") else None)
    if root is None:
        raise DataError(f"{path}: does not know where its images lie: say --data FOLDER")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of images: say --data FOLDER")
    try:
        labels = tuple(Label(**entry) for entry in about["labels"])
        image = ImageSpec(**about["image"])
        provenance = {
            **about["training"],
            "recipe_sha256": about["recipe_sha256"],
            "split_sha256": about["split_sha256"],
        }
        name = _file_name(about["name"], path)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: its run.json lacks or misnames {error}") from error
    manifest = read_manifest(path / "split.csv", root=root)
    body = _load(path / "model.keras", image, len(labels))
    scaling = body.layers[1]
    scale, offset = float(scaling.scale), float(scaling.offset)
    margins, retraining, budget = _settings(path / "recipe.toml")
    return Run(name, body, scale, offset, labels, image, manifest, margins, provenance, retraining, budget)


def _settings(path: Path) -> tuple[Margins, Retraining, Budget]:
    """What the recipe says of conversion."""
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a recipe: {error}") from None
    return (
        margins_from(recipe.get("gate", {}), str(path)),
        retraining_from(recipe.get("retrain", {}), str(path)),
        budget_from(recipe.get("mix", {}), str(path)),
    )


def _file_name(name: object, path: Path) -> str:
    """`name` as the beginning of file names: nothing that leads out of a folder."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise DataError(f"{path}: its name {name!r} is not letters, digits, '.', '_' and '-'")
    return name


def _load(path: Path, image: ImageSpec, classes: int) -> Any:
    """The Keras network, checked to be of the contract's shape."""
    try:
        body = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: cannot be opened by Keras {keras.__version__}: {reason}") from error
    inputs, outputs = body.inputs, body.output if isinstance(body.output, dict) else {}
    if len(inputs) != 1 or inputs[0].shape[1:] != (image.size, image.size, 3) or inputs[0].dtype != "uint8":
        raise DataError(f"{path}: its input is not uint8[{image.size},{image.size},3]")
    if set(outputs) != {"evidence", "embedding"} or outputs["evidence"].shape[-1] != classes:
        raise DataError(f"{path}: its outputs are not evidence for {classes} classes and an embedding")
    if not isinstance(body.layers[1], keras.layers.Rescaling):
        raise DataError(f"{path}: its first layer is not the pixel scaling")
    return body
