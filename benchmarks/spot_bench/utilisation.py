"""How much of the machine a network uses: its multiply-accumulates a second over the most that were seen here.

The most is measured, never looked up: a dense layer in the same interpreter with the same threads, and for float32 also
numpy's matrix product in a fresh process, whichever was faster.
"""

from __future__ import annotations

import importlib
import math
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spot_bench.dense import ROWS, WIDTH, dense_layer
from spot_bench.processes import spawn
from spot_edge.errors import CheckError
from spot_edge.flatbuffer import TYPES, Table, read_root
from spot_edge.interpreter import RUNTIMES

__all__ = ["Peak", "Work", "count_work", "measure_peak", "utilisation"]

_SECONDS = 0.4
_SIDE = 512
_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "BLIS_NUM_THREADS")
_MATMUL = f"""
import time, numpy as np
a = np.ones(({_SIDE}, {_SIDE}), np.float32)
best, start = 1e9, time.perf_counter()
while time.perf_counter() - start < {_SECONDS}:
    before = time.perf_counter(); a @ a; best = min(best, time.perf_counter() - before)
print(best)
"""

# Field numbers of the public TFLite schema.
_MODEL_CODES, _MODEL_SUBGRAPHS, _SUBGRAPH_TENSORS, _SUBGRAPH_OPERATORS = 1, 2, 0, 3
_CODE_OLD, _CODE_NEW = 0, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 0, 1, 2
_TENSOR_SHAPE, _TENSOR_TYPE = 0, 1
_CONV, _DEPTHWISE, _DENSE = 3, 4, 9


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-accumulates of one inference by what they multiply, such as "int8", or "float32 by int8"."""

    macs: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.macs.values())

    @property
    def dtype(self) -> str:
        """The type of nearly all (99 %) of them, else "mixed"."""
        kind, most = max(self.macs.items(), key=lambda item: item[1], default=("none", 0))
        return kind if most >= 0.99 * self.total else "mixed"


@dataclass(frozen=True, slots=True)
class Peak:
    """The most multiply-accumulates a second that were seen, in thousand millions, and how."""

    gmacs: float
    how: str


def count_work(content: bytes) -> Work:
    """The multiply-accumulates of the convolutions and dense layers in a verified .tflite file."""
    root = read_root(content)
    (graph,) = root.tables(_MODEL_SUBGRAPHS)
    codes = [max(code.scalar(_CODE_OLD, "<b"), code.scalar(_CODE_NEW, "<i")) for code in root.tables(_MODEL_CODES)]
    tensors = list(graph.tables(_SUBGRAPH_TENSORS))
    found: dict[str, int] = {}
    for operator in graph.tables(_SUBGRAPH_OPERATORS):
        code = codes[operator.scalar(_OPERATOR_CODE, "<I")]
        if code in (_CONV, _DEPTHWISE, _DENSE):
            image, weights = (tensors[index] for index in operator.integers(_OPERATOR_INPUTS)[:2])
            outputs = math.prod(tensors[operator.integers(_OPERATOR_OUTPUTS)[0]].integers(_TENSOR_SHAPE))
            shape = weights.integers(_TENSOR_SHAPE)
            each = math.prod(shape[1:3] if code == _DEPTHWISE else shape[1:])
            kinds = dict.fromkeys((_type(image), _type(weights)))  # both, or one where they are alike
            kind = " by ".join(kinds)
            found[kind] = found.get(kind, 0) + outputs * each
    return Work(found)


def measure_peak(dtype: str, threads: int, runtime: str) -> Peak | None:
    """The machine's peak for products of `dtype` with so many threads; None for types that have no dense layer here."""
    if dtype not in ("float32", "int8"):
        return None
    layer = _in_interpreter(dtype, threads, runtime)
    product = _in_numpy(threads) if dtype == "float32" else None
    return max((peak for peak in (layer, product) if peak), key=lambda peak: peak.gmacs, default=None)


def utilisation(work: Work, invoke_ms: float, peak: Peak | None) -> dict[str, Any]:
    """The record: what the network needs, what the machine reached with it, and its share of the peak."""
    reached = work.total / invoke_ms / 1e6
    reason = None if peak else f"no peak is measured for {work.dtype} products"
    return {
        "macs": work.total,
        "type": work.dtype,
        "by_type": work.macs,
        "gmacs_per_s": reached,
        "peak": asdict(peak) if peak else None,
        "share": reached / peak.gmacs if peak else None,
        "reason": reason,
    }


def _in_interpreter(dtype: str, threads: int, runtime: str) -> Peak | None:
    try:
        engine = importlib.import_module(RUNTIMES[runtime][0]).Interpreter
        interpreter = engine(model_content=dense_layer(dtype), num_threads=threads)
        interpreter.allocate_tensors()
        index = interpreter.get_input_details()[0]["index"]
        interpreter.set_tensor(index, np.ones((ROWS, WIDTH), dtype))
        best, runs, start = math.inf, 0, time.perf_counter()
        while runs < 3 or time.perf_counter() - start < _SECONDS:
            before = time.perf_counter()
            interpreter.invoke()
            best, runs = min(best, time.perf_counter() - before), runs + 1
    except (ImportError, ValueError, RuntimeError):  # a runtime without this layer: no peak from it
        return None
    how = f"{dtype} dense layer {ROWS}x{WIDTH} by {WIDTH}x{WIDTH} in {runtime}, {_said(threads)}, fastest of {runs}"
    return Peak(ROWS * WIDTH * WIDTH / best / 1e9, how)


def _in_numpy(threads: int) -> Peak | None:
    """In a fresh process: numpy's library reads how many threads it may use only when it starts."""
    try:
        best = float(spawn([sys.executable, "-c", _MATMUL], **dict.fromkeys(_BLAS, str(threads))))
    except (CheckError, ValueError):
        return None
    how = f"numpy {np.__version__} float32 product of {_SIDE}x{_SIDE}, {_said(threads)}, fastest in {_SECONDS} s"
    return Peak(_SIDE**3 / best / 1e9, how)


def _said(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def _type(tensor: Table) -> str:
    code = tensor.scalar(_TENSOR_TYPE, "<b")
    return TYPES.get(code, f"type {code}")
