"""Run .tflite files that may crash their interpreter. Call these functions in a subprocess (`spot_edge.isolated`).

This module imports little, because every inspection starts a process for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import first_line

__all__ = ["Pair", "Sums", "Trial", "compare", "try_out"]


@dataclass(frozen=True, slots=True)
class Trial:
    """Whether a runtime runs a file, and a remark; `broken` if the runtime itself cannot be imported."""

    runs: bool
    note: str = ""
    broken: bool = False


def try_out(module: str, content: bytes) -> Trial:
    """Open the file with the `Interpreter` of `module` and run it once on zeros."""
    try:
        engine = importlib.import_module(module).Interpreter
    except (ImportError, AttributeError) as error:
        return Trial(False, first_line(error), broken=True)
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
    except Exception as error:  # ValueError, RuntimeError, MemoryError, and whatever else a runtime raises
        return Trial(False, f"{stage}: {first_line(error)}")
    odd = any(output.dtype.kind == "f" and not np.isfinite(output).all() for output in outputs)
    return Trial(True, "its outputs on zeros contain NaN or infinity" if odd else "")


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of the first file, its counterpart in the second, and how to dequantize the first."""

    own: int
    other: int
    scale: float
    zero: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over all values of a layer and all images: squared baseline values, squared errors, and errors."""

    count: int
    signal: float
    error: float
    drift: float


def compare(
    own: bytes,
    other: bytes,
    own_inputs: Sequence[NDArray[Any]],
    other_inputs: Sequence[NDArray[Any]],
    pairs: Sequence[Pair],
) -> list[Sums]:
    """Run both files side by side and sum the errors of each pair.

    Raise ValueError or RuntimeError if LiteRT cannot run one of the files.
    """
    first, second = _open(own), _open(other)
    totals = np.zeros((len(pairs), 4))
    for own_input, other_input in zip(own_inputs, other_inputs, strict=True):
        _run(first, own_input)
        _run(second, other_input)
        for total, pair in zip(totals, pairs, strict=True):
            real = (first.get_tensor(pair.own).astype(np.float32) - np.float32(pair.zero)) * np.float32(pair.scale)
            truth = second.get_tensor(pair.other)
            gap = real - truth
            total += truth.size, np.vdot(truth, truth), np.vdot(gap, gap), gap.sum(dtype=np.float64)
    return [Sums(int(count), float(signal), float(error), float(drift)) for count, signal, error, drift in totals]


def _open(content: bytes) -> Any:
    """Open an interpreter that keeps all tensors.

    LiteRT then passes operators to XNNPACK one by one and keeps each output: the kernels are those that users run.
    """
    from ai_edge_litert.interpreter import Interpreter

    # One thread: single operators are too small to share.
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, tensor: NDArray[Any]) -> None:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
