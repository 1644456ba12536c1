"""Read the inputs and outputs of a .tflite flatbuffer before an interpreter loads it.

It uses `struct`, which checks every offset, so the device needs neither the flatbuffers package nor a schema.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from spot_edge.errors import ModelError

__all__ = ["Signature", "Table", "Tensor", "read_root", "read_signature"]

TYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}

# Field numbers of the public TFLite schema (tensorflow/compiler/mlir/lite/schema/schema.fbs), which never change.
_MODEL_SUBGRAPHS, _MODEL_SIGNATURES = 2, 7
_SUBGRAPH_TENSORS = 0
_TENSOR_SHAPE, _TENSOR_TYPE = 0, 1
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
    """Return the signature in `data`. Raises ModelError unless there is exactly one subgraph and one signature."""
    if len(data) < 16 or data[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a .tflite file")
    try:
        root = read_root(data)
        graphs, signatures = root.count(_MODEL_SUBGRAPHS), root.count(_MODEL_SIGNATURES)
        if graphs != 1 or signatures != 1:
            raise ModelError(f"{name}: {graphs} subgraphs and {signatures} signatures, but one of each is needed")
        (graph,), (signature,) = root.tables(_MODEL_SUBGRAPHS), root.tables(_MODEL_SIGNATURES)
        inputs = _named(signature, _SIGNATURE_INPUTS, graph)
        outputs = _named(signature, _SIGNATURE_OUTPUTS, graph)
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:  # OverflowError: on 32 bits
        raise ModelError(f"{name}: damaged .tflite structure") from error
    return Signature(inputs, outputs)


def read_root(data: bytes) -> Table:
    """The model table of a .tflite file."""
    return Table(data, _unsigned(data, 0))


def _named(signature: Table, field: int, graph: Table) -> dict[str, Tensor]:
    named = {}
    if signature.count(field) > _MANY:
        raise IndexError("too many inputs or outputs")
    for entry in signature.tables(field):
        tensor = graph.table(_SUBGRAPH_TENSORS, entry.scalar(_NAMED_INDEX, "<I"))
        if tensor.count(_TENSOR_SHAPE) > _MANY:
            raise IndexError("too many axes")
        code = tensor.scalar(_TENSOR_TYPE, "<b")
        named[entry.text(_NAMED_NAME)] = Tensor(TYPES.get(code, f"type {code}"), tensor.integers(_TENSOR_SHAPE))
    return named


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

    def text(self, number: int) -> str:
        start, length = self._vector(number)
        return self._data[start : start + length].decode()
