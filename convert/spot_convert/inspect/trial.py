"""The first run of an unknown file in a runtime. Imports little: every look at a file starts a process for it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np

__all__ = ["Trial", "try_out"]


@dataclass(frozen=True, slots=True)
class Trial:
    """Whether a runtime ran a file, and what there is to say; `broken` where the runtime itself cannot be imported."""

    runs: bool
    note: str = ""
    broken: bool = False


def try_out(module: str, content: bytes) -> Trial:
    """Open, allocate and run the file once on zeros with the `Interpreter` in `module`."""
    try:
        engine = importlib.import_module(module).Interpreter
    except (ImportError, AttributeError) as error:
        return Trial(False, _line(error), broken=True)
    stage = "opening it"
    try:
        interpreter = engine(model_content=content)
        stage = "allocating its tensors"
        interpreter.allocate_tensors()
        stage = "running it on zeros"
        for entry in interpreter.get_input_details():
            interpreter.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
        interpreter.invoke()
        outputs = [interpreter.get_tensor(entry["index"]) for entry in interpreter.get_output_details()]
    except Exception as error:  # ValueError, RuntimeError, MemoryError, and what else a runtime raises
        return Trial(False, f"{stage}: {_line(error)}")
    odd = any(output.dtype.kind == "f" and not np.isfinite(output).all() for output in outputs)
    return Trial(True, "on zeros its outputs are not all numbers" if odd else "")


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
