"""The smallest useful .tflite file: one dense layer, which an interpreter runs as fast as it can multiply at all."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["ROWS", "WIDTH", "dense_layer"]

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
    """Field number → scalar, table, or vector: bytes, a list of int32, a list of tables, or any other as `_Vector`."""


def dense_layer(dtype: str) -> bytes:
    """A FULLY_CONNECTED layer of `dtype` ("float32" or "int8"), its weights all one."""
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
    """Append `table` and all that hangs on it to `data`: where the table is. Offsets lead forward, to what follows."""
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
    """Append a table or vector."""
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
    data += bytes((-len(data) - 4) % 16)  # its first element on a multiple of 16, as TFLite wants weights
    start = len(data)
    data += struct.pack("<I", vector.length) + vector.content + b"\0"  # names end in a zero byte
    return start


def _aligned(data: bytearray, multiple: int) -> int:
    data += bytes(-len(data) % multiple)
    return len(data)
