"""What is read from a .tflite file before an interpreter loads it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest

from spot_edge.errors import ModelError
from spot_edge.model.flatbuffer import Tensor, read_signature, scores_step


def test_the_embedded_model_s_signature(flatbuffer, model) -> None:
    signature, size, classes = read_signature(flatbuffer, "m"), model.spec.image.size, len(model.spec.labels)
    assert signature.inputs == {"image": Tensor("uint8", (1, size, size, 3))}
    assert signature.outputs["scores"] == Tensor("float32", (1, classes))
    assert signature.outputs["evidence"].shape[3] == classes
    assert len(signature.outputs["embedding"].shape) == 2
    assert set(signature.outputs) == {"scores", "evidence", "embedding"}


# Two files: 100,000 inputs that share one entry, and one input of 100,000 axes. Prints the error of each.
SHARED = """
import struct
from spot_edge.errors import ModelError
from spot_edge.model.flatbuffer import read_signature

def table(size, *fields):  # offsets of fields from the table, whose vtable lies in front of it
    vtable = 4 + 2 * len(fields)
    return struct.pack(f"<HH{len(fields)}H", vtable, size, *fields) + struct.pack("<i", vtable)

def file(inputs, axes):
    shape = struct.pack("<I", axes) + bytes(4 * axes)
    tensor = table(8, 4) + struct.pack("<I", 4) + shape
    tensors = struct.pack("<II", 1, 4 + 6) + tensor
    graph = table(12, 4, 8) + struct.pack("<II", 8, 4 + len(tensors)) + tensors + struct.pack("<II", 1, 0)
    graphs = struct.pack("<II", 1, 4 + 8) + graph
    named = table(4)
    offsets = struct.pack(f"<I{inputs}I", inputs, *(4 * (inputs - i) + 4 for i in range(inputs)))
    signature = table(8, 4) + struct.pack("<I", 4) + offsets + named
    signatures = struct.pack("<II", 1, 4 + 6) + signature
    root = table(12, 0, 0, 4, 0, 0, 0, 0, 8) + struct.pack("<II", 8, 4 + len(graphs)) + graphs + signatures
    return struct.pack("<I4s", 8 + 20, b"TFL3") + root

for inputs, axes in ((100_000, 4), (1, 100_000)):
    try:
        read_signature(file(inputs, axes), "m")
    except ModelError as error:
        print(error)
read_signature(file(8, 8), "m")
"""


@pytest.mark.parametrize("data", [b"", b"TFL3", bytes(100), b"PK\3\4" * 10])
def test_other_files_are_rejected(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"m: not a \.tflite file"):
        read_signature(data, "m")


def test_an_empty_model_has_no_subgraph() -> None:
    no_fields = b"\x0c\0\0\0TFL3" + b"\x04\0\x04\0" + b"\x04\0\0\0"
    with pytest.raises(ModelError, match="0 subgraphs and 0 signatures"):
        read_signature(no_fields, "m")


def test_a_truncated_file_is_a_model_error(flatbuffer) -> None:
    """Except for a cut behind everything that is read here: the digest finds that one."""
    whole, last = read_signature(flatbuffer, "whole"), 0
    for kept in [16, 20, 30, *range(40, len(flatbuffer), len(flatbuffer) // 997)]:
        try:
            found = read_signature(flatbuffer[:kept], "cut")
        except ModelError:
            assert not last, "a shorter cut was read"
        else:
            assert found == whole
            last = last or kept
    assert last > len(flatbuffer) // 2


def test_garbage_in_the_tables_is_a_model_error_or_harmless(flatbuffer) -> None:
    """Offsets point forwards and backwards: one that leaves the data must raise nothing but a ModelError."""
    draws, refused = np.random.default_rng(3), 0
    data = bytearray(flatbuffer)
    root = int.from_bytes(data[:4], "little")
    for _ in range(200):
        places = draws.integers(max(8, root - 40), root + 200, 6).tolist()
        kept = [data[at] for at in places]
        for at in places:
            data[at] = int(draws.integers(256))
        try:
            read_signature(bytes(data), "garbage")
        except ModelError:
            refused += 1
        for at, byte in reversed(list(zip(places, kept, strict=True))):
            data[at] = byte
    assert 20 < refused < 200
    assert bytes(data) == flatbuffer


def test_a_vector_of_shared_entries_is_not_expanded(python) -> None:
    """Offsets may share a target: one megabyte could ask for ten billion numbers."""
    result = python("-c", SHARED)
    assert (result.stdout, result.stderr) == (b"m: damaged .tflite structure\n" * 2, b"")


Node = tuple[bytes, int]  # bytes, and where in them the table or vector begins


def node(*fields: bytes | Node | None) -> Node:
    """A table whose fields are four bytes, or point to other nodes."""
    places, values = [], [field for field in fields if field is not None]
    for field in fields:
        places.append(0 if field is None else 4 + 4 * len([place for place in places if place]))
    vtable = struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), 4 + 4 * len(values), *places)
    return vtable + struct.pack("<i", len(vtable)) + _pointing(values), len(vtable)


def vector(*nodes: Node) -> Node:
    return struct.pack("<I", len(nodes)) + _pointing(nodes), 0


def numbers(form: str, *values: float) -> Node:
    return struct.pack(f"<I{len(values)}{form}", len(values), *values), 0


def _pointing(values: Sequence[bytes | Node]) -> bytes:
    """Four bytes for each value, and behind them the nodes that they point to."""
    inline, behind = b"", b""
    for value in values:
        if isinstance(value, tuple):
            inline += struct.pack("<I", 4 * len(values) - len(inline) + len(behind) + value[1])
            behind += value[0]
        else:
            inline += value
    return inline + behind


NAMES = ((b"\1\0\0\0", b"x"), (b"\0\0\0\0", b"scores"))


@pytest.mark.parametrize(("scales", "step"), [((1 / 256,), 1 / 256), ((0.5, 0.25), 0.0), ((), 0.0), (None, 0.0)])
def test_the_step_of_quantized_scores(scales: tuple[float, ...] | None, step: float) -> None:
    """The last operator turns integers (tensor 1) into the scores (tensor 0)."""
    quantization = None if scales is None else node(None, None, numbers("f", *scales))
    integers = node(numbers("i", 1, 7), b"\x09\0\0\0", None, None, quantization)
    other = node(b"\0\0\0\0", numbers("i", 3), numbers("i", 1))
    last = node(b"\0\0\0\0", numbers("i", 1), numbers("i", 0))
    graph = node(vector(node(numbers("i", 1, 7)), integers), None, numbers("i", 0), vector(other, last))
    names = [node((struct.pack("<I", len(name)) + name, 0), number) for number, name in NAMES]
    root = node(None, None, vector(graph), None, None, None, None, vector(node(None, vector(*names))))
    data = struct.pack("<I4s", 8 + root[1], b"TFL3") + root[0]
    assert scores_step(data) == step
    assert scores_step(data, "another") == 0
    for kept in range(8, len(data), 3):
        assert scores_step(data[:kept]) in (0, step)


def test_the_step_of_the_embedded_model_is_zero_since_its_scores_are_floats(flatbuffer) -> None:
    assert scores_step(flatbuffer) == 0
