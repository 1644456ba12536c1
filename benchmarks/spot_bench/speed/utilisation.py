"""Measure how much of the machine a network uses: its multiply-accumulates per second over the machine's peak.

The peak is measured: a dense layer in the same interpreter with the same threads, and for float32 also numpy's matrix
product in a new process, whichever is faster. `dense_layer` writes a .tflite file with one dense layer for it.
"""

from __future__ import annotations

import importlib
import math
import struct
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spot_bench.speed.processes import spawn
from spot_edge.errors import CheckError
from spot_edge.model.flatbuffer import TYPES, Table, read_root
from spot_edge.model.interpreter import RUNTIMES

__all__ = ["ROWS", "WIDTH", "Peak", "Work", "count_work", "dense_layer", "measure_peak", "utilisation"]

ROWS, WIDTH = 256, 512  # one product of [256, 512] by [512, 512]: 67 million multiply-accumulates, half a megabyte

_FULLY_CONNECTED, _OPTIONS = 9, 8  # operator, and the kind of its options
_CODES = {"float32": (0, 1, struct.pack("<f", 1)), "int8": (9, 4, b"\1")}  # type number, operator version, a one


@dataclass(frozen=True, slots=True)
class _Scalar:
    form: str
    value: int


@dataclass(frozen=True, slots=True)
class _Vector:
    length: int
    content: bytes


class _Table(dict[int, Any]):
    """Map field numbers to a scalar, a table, or a vector (bytes, list of int32, list of tables, `_Vector`)."""


def dense_layer(dtype: str) -> bytes:
    """Return a .tflite file with one FULLY_CONNECTED layer of `dtype` ("float32" or "int8"); all weights are one."""
    code, version, one = _CODES[dtype]
    tensors = [_tensor([ROWS, WIDTH], code, 1), _tensor([WIDTH, WIDTH], code, 2), _tensor([ROWS, WIDTH], code, 1)]
    layer = _Table({1: [0, 1, -1], 2: [2], 3: _Scalar("<B", _OPTIONS), 4: _Table()})
    graph = _Table({0: tensors, 1: [0], 2: [2], 3: [layer]})
    operator = _Table(
        {0: _Scalar("<b", _FULLY_CONNECTED), 2: _Scalar("<i", version), 3: _Scalar("<i", _FULLY_CONNECTED)}
    )
    buffers = [_Table(), _Table(), _Table({0: one * WIDTH * WIDTH})]
    data = bytearray(8)
    data[4:8] = b"TFL3"
    root = _write(_Table({0: _Scalar("<I", 3), 1: [operator], 2: [graph], 3: b"dense", 4: buffers}), data)
    struct.pack_into("<I", data, 0, root)
    return bytes(data)


def _tensor(shape: list[int], code: int, buffer: int) -> _Table:
    tensor = _Table({0: shape, 1: _Scalar("<b", code), 2: _Scalar("<I", buffer), 3: b"tensor"})
    if code == _CODES["int8"][0]:
        tensor[4] = _Table({2: _Vector(1, struct.pack("<f", 0.05)), 3: _Vector(1, bytes(8))})  # scale and zero point
    return tensor


def _write(table: _Table, data: bytearray) -> int:
    """Append `table` and its children to `data`; return its position. Offsets point forward."""
    slots = max(table, default=-1) + 1
    vtable, at, inline = _aligned(data, 8), 4, []
    for number, value in table.items():
        form = value.form if isinstance(value, _Scalar) else "<I"
        at += -at % struct.calcsize(form)
        inline.append((number, at, form, value))
        at += struct.calcsize(form)
    places = {number: place for number, place, _, _ in inline}
    data += struct.pack(f"<2H{slots}H", 4 + 2 * slots, at, *(places.get(number, 0) for number in range(slots)))
    start = _aligned(data, 8)
    data += struct.pack("<i", start - vtable) + bytes(at - 4)
    for _, place, form, value in inline:
        if isinstance(value, _Scalar):
            struct.pack_into(form, data, start + place, value.value)
        else:
            struct.pack_into(form, data, start + place, _write_child(value, data) - start - place)
    return start


def _write_child(value: Any, data: bytearray) -> int:
    """Append a table or vector; return its position."""
    if isinstance(value, _Table):
        return _write(value, data)
    if isinstance(value, list) and value and isinstance(value[0], _Table):
        start = _vector(_Vector(len(value), bytes(4 * len(value))), data)
        for number, table in enumerate(value, 1):
            place = start + 4 * number
            struct.pack_into("<I", data, place, _write(table, data) - place)
        return start
    if isinstance(value, list):
        return _vector(_Vector(len(value), struct.pack(f"<{len(value)}i", *value)), data)
    if isinstance(value, bytes):
        return _vector(_Vector(len(value), value), data)
    return _vector(value, data)


def _vector(vector: _Vector, data: bytearray) -> int:
    data += bytes((-len(data) - 4) % 16)  # align the first element to 16 bytes, as TFLite requires for weights
    start = len(data)
    data += struct.pack("<I", vector.length) + vector.content + b"\0"  # strings end with a zero byte
    return start


def _aligned(data: bytearray, multiple: int) -> int:
    data += bytes(-len(data) % multiple)
    return len(data)


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
    """Multiply-accumulates of one inference by operand type, such as "int8" or "float32 by int8"."""

    macs: dict[str, int]

    @property
    def total(self) -> int:
        """The number of all multiply-accumulates."""
        return sum(self.macs.values())

    @property
    def dtype(self) -> str:
        """The type of at least 99 % of them, otherwise "mixed"."""
        kind, most = max(self.macs.items(), key=lambda item: item[1], default=("none", 0))
        return kind if most >= 0.99 * self.total else "mixed"


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest rate measured, in billions of multiply-accumulates per second, and how it was measured."""

    gmacs: float
    how: str


def count_work(content: bytes) -> Work:
    """Count the multiply-accumulates of convolutions and dense layers in a verified .tflite file."""
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
            kinds = dict.fromkeys((_type(image), _type(weights)))  # one if both are the same
            kind = " by ".join(kinds)
            found[kind] = found.get(kind, 0) + outputs * each
    return Work(found)


def measure_peak(dtype: str, threads: int, runtime: str) -> Peak | None:
    """Measure the machine's peak for products of `dtype` with `threads`; None for other types than float32 and int8."""
    if dtype not in ("float32", "int8"):
        return None
    layer = _in_interpreter(dtype, threads, runtime)
    product = _in_numpy(threads) if dtype == "float32" else None
    return max((peak for peak in (layer, product) if peak), key=lambda peak: peak.gmacs, default=None)


def utilisation(work: Work, invoke_ms: float, peak: Peak | None) -> dict[str, Any]:
    """Return what the network needs, the rate that the machine reached with it, and its share of the peak."""
    reached = work.total / invoke_ms / 1e6
    reason = None if peak else f"no peak measured for {work.dtype} products"
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
    except (ImportError, ValueError, RuntimeError):  # a runtime without this layer gives no peak
        return None
    how = f"{dtype} dense layer {ROWS}x{WIDTH} by {WIDTH}x{WIDTH} in {runtime}, {_said(threads)}, fastest of {runs}"
    return Peak(ROWS * WIDTH * WIDTH / best / 1e9, how)


def _in_numpy(threads: int) -> Peak | None:
    """Measure in a new process, because numpy's library reads its number of threads only at the start."""
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
