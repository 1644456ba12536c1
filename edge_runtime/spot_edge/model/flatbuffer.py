"""Read the inputs and outputs of a .tflite flatbuffer before an interpreter loads it.

It uses `struct`, which checks every offset, so the device needs neither the flatbuffers package nor a schema.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from spot_edge.errors import ModelError

__all__ = ["Signature", "Table", "Tensor", "read_root", "read_signature", "scores_step"]

TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}

# Field numbers of the public TFLite schema (tensorflow/compiler/mlir/lite/schema/schema.fbs), which never change.
_MODEL_SUBGRAPHS, _MODEL_SIGNATURES = 2, 7
_SUBGRAPH_TENSORS, _SUBGRAPH_INPUTS, _SUBGRAPH_OUTPUTS, _SUBGRAPH_OPERATORS = 0, 1, 2, 3
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_QUANTIZATION = 0, 1, 4
_QUANTIZATION_SCALE = 2
_OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 1, 2
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS = 0, 1
_NAMED_NAME, _NAMED_INDEX = 0, 1
_MANY = 8  # limit on inputs, outputs and axes: offsets may overlap, so a small file can claim any number


class Tensor(NamedTuple):
    """One named input or output."""

    dtype: str
    shape: tuple[int, ...]


class Signature(NamedTuple):
    """Inputs and outputs by their names in the signature."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def read_signature(data: bytes, name: str) -> Signature:
    """Return the signature in `data`.

    Raises ModelError unless there is exactly one subgraph and one signature, which names inputs and outputs of the
    graph: the memory of any other tensor is reused while the network runs.
    """
    if len(data) < 16 or data[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a .tflite file")
    try:
        root = read_root(data)
        graphs, signatures = root.count(_MODEL_SUBGRAPHS), root.count(_MODEL_SIGNATURES)
        if graphs != 1 or signatures != 1:
            raise ModelError(f"{name}: {graphs} subgraphs and {signatures} signatures, but one of each is needed")
        (graph,), (signature,) = root.tables(_MODEL_SUBGRAPHS), root.tables(_MODEL_SIGNATURES)
        inputs, fed = _named(signature, _SIGNATURE_INPUTS, graph)
        outputs, read = _named(signature, _SIGNATURE_OUTPUTS, graph)
        if fed != {*_short(graph, _SUBGRAPH_INPUTS)} or not read <= {*_short(graph, _SUBGRAPH_OUTPUTS)}:
            raise ModelError(f"{name}: its signature does not name the inputs and outputs of its graph")
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:  # OverflowError: on 32 bits
        raise ModelError(f"{name}: damaged .tflite structure") from error
    return Signature(inputs, outputs)


def read_root(data: bytes) -> Table:
    """The model table of a .tflite file."""
    return Table(data, _unsigned(data, 0))


def scores_step(data: bytes, output: str = "scores") -> float:
    """The quantization step of an output: that of the integers which the graph's last operator turns into floats.

    0 if the output is made of floats.
    """
    try:
        root = read_root(data)
        (graph,), (signature,) = root.tables(_MODEL_SUBGRAPHS), root.tables(_MODEL_SIGNATURES)
        index = next(
            entry.scalar(_NAMED_INDEX, "<I")
            for entry in signature.tables(_SIGNATURE_OUTPUTS)
            if entry.text(_NAMED_NAME) == output
        )
        for operator in graph.tables(_SUBGRAPH_OPERATORS):
            if index in operator.integers(_OPERATOR_OUTPUTS):
                source = graph.table(_SUBGRAPH_TENSORS, operator.integers(_OPERATOR_INPUTS)[0])
                quantization = source.inner(_TENSOR_QUANTIZATION)
                scales = quantization.floats(_QUANTIZATION_SCALE) if quantization else ()
                return scales[0] if len(scales) == 1 else 0.0
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError, StopIteration):
        pass
    return 0.0


def _short(graph: Table, field: int) -> tuple[int, ...]:
    if graph.count(field) > _MANY:
        raise IndexError("too many inputs or outputs")
    return graph.integers(field)


def _named(signature: Table, field: int, graph: Table) -> tuple[dict[str, Tensor], set[int]]:
    """Tensors by their names, and their numbers in the graph."""
    named, numbers = {}, set()
    if signature.count(field) > _MANY:
        raise IndexError("too many inputs or outputs")
    for entry in signature.tables(field):
        number = entry.scalar(_NAMED_INDEX, "<I")
        numbers.add(number)
        tensor = graph.table(_SUBGRAPH_TENSORS, number)
        if tensor.count(_TENSOR_SHAPE) > _MANY:
            raise IndexError("too many axes")
        code = tensor.scalar(_TENSOR_TYPE, "<b")
        named[entry.text(_NAMED_NAME)] = Tensor(TYPES.get(code, f"type {code}"), tensor.integers(_TENSOR_SHAPE))
    return named, numbers


def _unsigned(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


class Table:
    """A flatbuffer table at an offset."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - struct.unpack_from("<i", data, at)[0]
        if self._vtable < 0:
            raise IndexError("vtable before the data")
        self._vtable_size = struct.unpack_from("<H", data, self._vtable)[0]

    def _field(self, number: int) -> int | None:
        slot = 4 + 2 * number
        if slot + 2 > self._vtable_size:
            return None
        offset = int(struct.unpack_from("<H", self._data, self._vtable + slot)[0])
        return self._at + offset if offset else None

    def scalar(self, number: int, form: str) -> int:
        at = self._field(number)
        return 0 if at is None else int(struct.unpack_from(form, self._data, at)[0])

    def _vector(self, number: int) -> tuple[int, int]:
        """Start and length of a vector or string field."""
        at = self._field(number)
        if at is None:
            return 0, 0
        start = at + _unsigned(self._data, at)
        length = _unsigned(self._data, start)
        if start + 4 + length > len(self._data):
            raise IndexError("vector beyond the data")
        return start + 4, length

    def count(self, number: int) -> int:
        return self._vector(number)[1]

    def table(self, number: int, index: int) -> Table:
        start, length = self._vector(number)
        if index >= length:
            raise IndexError("beyond the vector")
        at = start + 4 * index
        return Table(self._data, at + _unsigned(self._data, at))

    def tables(self, number: int) -> Iterator[Table]:
        for index in range(self.count(number)):
            yield self.table(number, index)

    def integers(self, number: int) -> tuple[int, ...]:
        start, length = self._vector(number)
        return struct.unpack_from(f"<{length}i", self._data, start) if length else ()

    def floats(self, number: int) -> tuple[float, ...]:
        start, length = self._vector(number)
        return struct.unpack_from(f"<{length}f", self._data, start) if length else ()

    def inner(self, number: int) -> Table | None:
        """The table that a field points to."""
        at = self._field(number)
        return None if at is None else Table(self._data, at + _unsigned(self._data, at))

    def text(self, number: int) -> str:
        start, length = self._vector(number)
        return self._data[start : start + length].decode()
