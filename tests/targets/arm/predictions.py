"""Compare a model file's predictions on each emulated system with those on this machine: `predictions.py [MODEL …]`.

Each file (default: the embedded model) gets drawn and random tensors, with and without XNNPACK, in the same interpreter
on both sides. Run `make check TARGET=arm` first. For tflite-runtime on this machine, TFLITE_RUNTIME_PYTHON names the
Python of an environment that has it [default: the one in .venv-bookworm, which `make check TARGET=targets` makes].
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

OUTPUTS = ("scores", "evidence")
OLD_PYTHON = os.environ.get("TFLITE_RUNTIME_PYTHON", ".venv-bookworm/bin/python")


def tensors(size: int) -> list[np.ndarray]:
    """Drawn blots on skin, and noise."""
    y, x = np.mgrid[0:size, 0:size]
    made = []
    for number in range(8):
        inside = (x - size / 2) ** 2 * (1 + 0.2 * number) + (y - size / 2) ** 2 < (size * (0.15 + 0.04 * number)) ** 2
        skin = np.stack([214 - (y + 5 * number) % 23, 170 - x % 29, 150 - (x + y) % 31], axis=2)
        made.append(np.where(inside[..., None], skin // (2 + number % 3) + np.array([20, 4, 1]), skin))
    noise = np.random.default_rng(5).integers(0, 256, (4, size, size, 3))
    return [tensor[np.newaxis].astype(np.uint8) for tensor in [*made, *noise]]


def predict(model: str | None, delegate: bool) -> dict[str, list[object]]:
    """The model's outputs for each tensor in the installed interpreter. Runs inside each system."""
    from spot_edge.model.file import read_model
    from spot_edge.model.interpreter import Interpreter

    file = read_model(model)
    interpreter = Interpreter(file, threads=1, delegate=delegate)
    runs = [interpreter.invoke(tensor) for tensor in tensors(file.spec.image.size)]
    return {name: [outputs[name].tolist() for outputs in runs] for name in OUTPUTS}


def compare(model: str) -> None:
    """Print a row of the table in docs/reports/arm.md for each emulated system (`model` empty: the embedded model)."""
    from systems import SYSTEMS, WORK

    script = Path(__file__)
    for name, system in SYSTEMS.items():
        if not system.core:
            continue
        inside = WORK / system.root / "opt" / "check"
        shutil.copy(script, inside)
        if model:
            shutil.copy(model, inside / "model.tflite")
        for delegate in (True, False):
            options = ("--predict", "/opt/check/model.tflite" if model else "", str(delegate))
            emulated = system.run("/opt/check/predictions.py", *options, capture_output=True)
            python = sys.executable if system.runtime == "ai-edge-litert" else OLD_PYTHON
            options = ("--predict", model, str(delegate))
            local = subprocess.run([python, script, *options], capture_output=True, text=True, check=False)
            xnnpack = "yes" if delegate else "no"
            row = f"| {Path(model).name or 'the embedded model'} | {system.runtime} | {xnnpack} | {name} |"
            failed = [run.stderr.strip().splitlines()[-1] for run in (emulated, local) if run.returncode]
            if failed:
                print(row, failed[0], "| | |", flush=True)
                continue
            first, second = (
                {key: np.array(value) for key, value in json.loads(run.stdout).items()} for run in (emulated, local)
            )
            gaps = {key: np.abs(first[key] - second[key]).max() for key in OUTPUTS}
            agree = (first["scores"].argmax(1) == second["scores"].argmax(1)).sum()
            print(row, f"{gaps['scores']:.1e} | {gaps['evidence']:.1e} | {agree} of {len(tensors(32))} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--predict"]:
        print(json.dumps(predict(sys.argv[2] or None, sys.argv[3] == "True")))
    else:
        print(
            "| file | interpreter | XNNPACK | system | largest score difference | largest evidence difference "
            "| same top class |"
        )
        print("|---|---|---|---|---|---|---|")
        for path in sys.argv[1:] or [""]:
            compare(path)
