"""Read a run directory: the network, its data and its settings. Training and conversion share nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import keras

from spot_bench.data.manifest import Manifest, read_manifest
from spot_bench.drift.gate import Margins, margins_from
from spot_bench.run.directory import read_run_description, read_sources
from spot_bench.run.settings import Budget, Retraining, budget_from, retraining_from
from spot_edge.errors import DataError, first_line
from spot_edge.model.spec import Geometry, ImageSpec, Label

__all__ = ["Run", "read_run"]


@dataclass(frozen=True, slots=True)
class Run:
    """A trained network and everything that conversion needs to know about it."""

    name: str
    body: Any  # the Keras network: image (uint8) → evidence, embedding
    pixel_scale: float  # its first layer computes x * scale + offset
    pixel_offset: float
    labels: tuple[Label, ...]
    image: ImageSpec
    manifest: Manifest
    margins: Margins  # of the drift gate
    provenance: Mapping[str, str]  # data, licence, notice and digests for spot.json
    retraining: Retraining = field(default_factory=Retraining)  # for fine-tuned variants
    budget: Budget = field(default_factory=Budget)  # for mixed-precision variants
    sources: tuple[Manifest, ...] = ()  # further training images


def read_run(path: Path, data: Path | None = None) -> Run:
    """Read the run directory `path`. `data` replaces the image folder that the run names."""
    about = read_run_description(path)
    root = data or (Path(about["data"]) if about.get("data") else None)
    if root is None:
        raise DataError(f"{path}: run.json names no image folder: name it with --data")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder: name the folder of the run's images with --data")
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
        raise DataError(f"{path}: run.json has a missing or unknown entry: {error}") from error
    if image.geometry not in get_args(Geometry):
        known = ", ".join(get_args(Geometry))
        raise DataError(
            f"{path}: run.json has the unknown image geometry {image.geometry!r}. It must be one of {known}"
        )
    manifest = read_manifest(path / "split.csv", root=root)
    body = _load(path / "model.keras", image, len(labels))
    scaling = body.layers[1]
    scale, offset = float(scaling.scale), float(scaling.offset)
    margins, retraining, budget = _settings(path / "recipe.toml")
    sources = read_sources(path)
    return Run(name, body, scale, offset, labels, image, manifest, margins, provenance, retraining, budget, sources)


def _settings(path: Path) -> tuple[Margins, Retraining, Budget]:
    """Read the settings of the recipe that concern conversion."""
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable recipe: {error}") from None
    return (
        margins_from(recipe.get("gate", {}), str(path)),
        retraining_from(recipe.get("retrain", {}), str(path)),
        budget_from(recipe.get("mix", {}), str(path)),
    )


def _file_name(name: object, path: Path) -> str:
    """Check that `name` can start a file name and cannot lead out of a folder."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise DataError(f"{path}: invalid name {name!r}: use at most 64 letters, digits, '.', '_' and '-'")
    return name


def _load(path: Path, image: ImageSpec, classes: int) -> Any:
    """Load the Keras network and check its inputs, outputs and first layer."""
    try:
        body = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: Keras {keras.__version__} cannot load it: {first_line(error)}") from error
    inputs, outputs = body.inputs, body.output if isinstance(body.output, dict) else {}
    if len(inputs) != 1 or inputs[0].shape[1:] != (image.size, image.size, 3) or inputs[0].dtype != "uint8":
        raise DataError(f"{path}: the input must be uint8[{image.size},{image.size},3]")
    if set(outputs) != {"evidence", "embedding"} or outputs["evidence"].shape[-1] != classes:
        raise DataError(f"{path}: the outputs must be evidence for {classes} classes and an embedding")
    if not isinstance(body.layers[1], keras.layers.Rescaling):
        raise DataError(f"{path}: the first layer must be Rescaling")
    return body
