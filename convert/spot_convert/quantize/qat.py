"""Quantization-aware training: another environment's Python takes the network and gives an int8 body back."""

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
from spot_convert.runtimes.environments import require_environment
from spot_edge.errors import CheckError, DataError

__all__ = ["check_trainer", "qat_body"]

_PACKAGE = "tensorflow-model-optimization"
_RATE = 0.0001


def check_trainer(python: Path | None) -> Path:
    """`python` itself, if it is that of an environment with TF Model Optimization; DataError where it is not."""
    if python is None:
        raise DataError(
            "qat-int8 is trained with TF Model Optimization, in an environment of its own: name its Python with --qat "
            "(docs/convert.md says how to make one)"
        )
    require_environment(python, ("spot_convert", "tensorflow", "tf_keras"), _PACKAGE)
    return python


def qat_body(
    run: Run,
    calibration: NDArray[np.uint8],
    lessons: NDArray[np.uint8],
    python: Path,
    more: Callable[[int], None],
) -> bytes:
    """The network in full int8, trained with its rounding by the environment of `python`."""
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
        np.save(folder / "lessons.npy", lessons)
        _run(python, folder, more)
        return (folder / "body.tflite").read_bytes()


def _run(python: Path, folder: Path, more: Callable[[int], None]) -> None:
    """The process to its end; it goes with this one."""
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
                    more(1)
        except BaseException:  # Ctrl-C above all
            process.terminate()
            raise
        if process.wait():
            log.seek(0)
            reason = (log.read().strip() or f"exit code {process.returncode}").splitlines()[-1]
            raise CheckError(f"qat-int8: training in {python} failed: {reason}")
