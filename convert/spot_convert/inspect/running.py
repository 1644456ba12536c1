"""Two files run side by side, each layer's output of one against the other's. Meant for a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pair", "Sums", "compare"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of the first file, its counterpart in the second, and how the first's numbers become real ones."""

    own: int
    other: int
    scale: float
    zero: int


@dataclass(frozen=True, slots=True)
class Sums:
    """Over all values of a layer and all pictures: squares of the twin's values, squares of the error, the error."""

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
    """The sums of each pair. ValueError or RuntimeError where LiteRT cannot run one of the files."""
    first, second = _open(own), _open(other)
    totals = np.zeros((len(pairs), 4))
    for mine, its in zip(own_inputs, other_inputs, strict=True):
        _run(first, mine)
        _run(second, its)
        for total, pair in zip(totals, pairs, strict=True):
            real = (first.get_tensor(pair.own).astype(np.float32) - np.float32(pair.zero)) * np.float32(pair.scale)
            truth = second.get_tensor(pair.other)
            gap = real - truth
            total += truth.size, np.vdot(truth, truth), np.vdot(gap, gap), gap.sum(dtype=np.float64)
    return [Sums(int(count), float(signal), float(error), float(drift)) for count, signal, error, drift in totals]


def _open(content: bytes) -> Any:
    """An interpreter that keeps all its tensors.

    LiteRT then hands XNNPACK each operator by itself and keeps what it gives out: the kernels are those that users run.
    """
    from ai_edge_litert.interpreter import Interpreter

    # One thread: operators handed over one by one are too small to share.
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, tensor: NDArray[Any]) -> None:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], tensor)
    interpreter.invoke()
