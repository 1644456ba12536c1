"""Run `spot-edge bench predict --in-runtime`, as the checks of several runtimes do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from spot_bench.commands.bench import bench
from spot_edge import read_model
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare


def predict_in_runtime(model: Path, data: Path, out: Path, *options: object) -> str:
    """Save the model's predictions on all images of `data` to predictions.npz in `out`, and return the output."""
    arguments = ["predict", model, "--in-runtime", "--data", data, "--split", "all", "--out", out, *options]
    done = CliRunner().invoke(bench, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def tensor_of(model: Path, image: Path) -> np.ndarray[Any, Any]:
    """The input tensor that the device makes from an image file."""
    return prepare(Source.of(image), read_model(model).spec.image).tensor
