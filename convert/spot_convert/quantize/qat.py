"""Quantization-aware training: the Python of another environment trains the network and returns an int8 body."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spot_convert.engines.folding import fold
from spot_convert.engines.tflite_converter import input_zero
from spot_convert.run import Run
from spot_convert.runtimes.predictions import require_environment
from spot_edge.errors import CheckError, DataError

__all__ = ["check_trainer", "qat_body"]

_PACKAGE = "tensorflow-model-optimization"
_RATE = 0.0001


def check_trainer(python: Path | None) -> None:
    """Raise DataError unless `python` belongs to an environment with TF Model Optimization."""
    if python is None:
        raise DataError(
            "qat-int8 needs the Python of an environment with TF Model Optimization: name it with --qat "
            "(docs/how-to/convert-a-model.md shows how to make one)"
        )
    require_environment(python, ("tf_keras", "spot_convert", "tensorflow"), _PACKAGE)


def qat_body(
    run: Run,
    calibration: NDArray[np.uint8],
    training: NDArray[np.uint8],
    python: Path,
    advance: Callable[[int], None],
) -> bytes:
    """Return the network in full int8, trained with simulated rounding in the environment of `python`."""
    folded = fold(run.body)
    task = {
        "layers": folded.layers,
        "outputs": folded.outputs,
        "size": run.image.size,
        "scale": run.pixel_scale,
        "offset": run.pixel_offset,
        "zero": input_zero(run),
        "steps": run.retraining.steps,
        "rate": _RATE,
    }
    with tempfile.TemporaryDirectory(prefix="spot-edge-") as temporary:
        folder = Path(temporary)
        (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
        np.savez(folder / "weights.npz", **folded.weights)  # type: ignore[arg-type]
        np.save(folder / "calibration.npy", calibration)
        np.save(folder / "training.npy", training)
        _run(python, folder, advance)
        return (folder / "body.tflite").read_bytes()


def _run(python: Path, folder: Path, advance: Callable[[int], None]) -> None:
    """Run the training process, and stop it if this process is interrupted."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        subprocess.Popen(
            [python, "-m", "spot_convert.quantize.qat_process", folder], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line == "step\n":
                    advance(1)
        except BaseException:  # Ctrl-C above all
            process.terminate()
            raise
        if process.wait():
            log.seek(0)
            reason = (log.read().strip() or f"exit code {process.returncode}").splitlines()[-1]
            raise CheckError(f"qat-int8: training in {python} failed: {reason}")
