"""How far a model file's answers on each emulated system are from those on this machine: `answers.py [MODEL …]`.

Each file (without a name the embedded model) gets drawn and random tensors, with XNNPACK and without it, in the same
interpreter here and there. Run it after `make check TARGET=arm`; for tflite-runtime here, TFLITE_RUNTIME_PYTHON names the Python of
an environment that has it, as `make check TARGET=targets` leaves one in .venv-bookworm.
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
    """Blots on skin, and noise."""
    y, x = np.mgrid[0:size, 0:size]
    made = []
    for number in range(8):
        inside = (x - size / 2) ** 2 * (1 + 0.2 * number) + (y - size / 2) ** 2 < (size * (0.15 + 0.04 * number)) ** 2
        skin = np.stack([214 - (y + 5 * number) % 23, 170 - x % 29, 150 - (x + y) % 31], axis=2)
        made.append(np.where(inside[..., None], skin // (2 + number % 3) + np.array([20, 4, 1]), skin))
    noise = np.random.default_rng(5).integers(0, 256, (4, size, size, 3))
    return [tensor[np.newaxis].astype(np.uint8) for tensor in [*made, *noise]]


def answer(model: str | None, delegate: bool) -> dict[str, list[object]]:
    """What the model says to each tensor in the interpreter that is installed: run inside each system."""
    from spot_edge.model.file import read_model
    from spot_edge.model.interpreter import Interpreter

    file = read_model(model)
    interpreter = Interpreter(file, threads=1, delegate=delegate)
    said = [interpreter.invoke(tensor) for tensor in tensors(file.spec.image.size)]
    return {name: [outputs[name].tolist() for outputs in said] for name in OUTPUTS}


def compare(model: str) -> None:
    """Print a row of docs/reports/arm.md's table for each system that runs `model` (empty: the embedded one)."""
    from systems import SYSTEMS, WORK

    here = Path(__file__)
    for name, system in SYSTEMS.items():
        if not system.core:
            continue
        inside = WORK / system.root / "opt" / "check"
        shutil.copy(here, inside)
        if model:
            shutil.copy(model, inside / "model.tflite")
        for delegate in (True, False):
            asked = ("--answer", "/opt/check/model.tflite" if model else "", str(delegate))
            there = system.run("/opt/check/answers.py", *asked, capture_output=True)
            python = sys.executable if system.runtime == "ai-edge-litert" else OLD_PYTHON
            asked = ("--answer", model, str(delegate))
            same = subprocess.run([python, here, *asked], capture_output=True, text=True, check=False)
            with_it = "yes" if delegate else "no"
            row = f"| {Path(model).name or 'the embedded model'} | {system.runtime} | {with_it} | {name} |"
            failed = [run.stderr.strip().splitlines()[-1] for run in (there, same) if run.returncode]
            if failed:
                print(row, failed[0], "| | |", flush=True)
                continue
            first, second = (
                {key: np.array(value) for key, value in json.loads(run.stdout).items()} for run in (there, same)
            )
            apart = {key: np.abs(first[key] - second[key]).max() for key in OUTPUTS}
            agree = (first["scores"].argmax(1) == second["scores"].argmax(1)).sum()
            print(row, f"{apart['scores']:.1e} | {apart['evidence']:.1e} | {agree} of {len(tensors(32))} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--answer"]:
        print(json.dumps(answer(sys.argv[2] or None, sys.argv[3] == "True")))
    else:
        print(
            "| file | interpreter | XNNPACK | system | largest score difference | largest evidence difference | same top class |"
        )
        print("|---|---|---|---|---|---|---|")
        for path in sys.argv[1:] or [""]:
            compare(path)
