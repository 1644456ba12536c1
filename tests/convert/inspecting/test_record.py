"""What `spot-edge inspect` reports about a single file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from files_by_hand import EMBEDDED, Codes, Made, Types, dense, lists_operator, pack, record, run

from spot_convert.inspect.graph import read_flatbuffer
from spot_convert.inspect.layers import short_names
from spot_convert.inspect.record import inspect_file
from spot_convert.runtimes.compatibility import try_runtimes, unsupported
from spot_edge import read_model
from spot_edge.errors import ModelError


def test_the_embedded_model_is_full_int8_with_a_float_tail(embedded: dict[str, Any]) -> None:
    assert embedded["schema"] == 1
    assert embedded["quantization"]["kind"] == "full int8 body with float tail"
    assert "MEAN, DIV, SOFTMAX at the end are float32" in embedded["quantization"]["words"]
    ours = read_model()
    assert embedded["sealed"] == {"state": "whole", "name": "spot", "variant": "int8", "id": ours.id}
    assert embedded["members"] == {name: len(content) for name, content in ours.members.items()}
    (signature,) = embedded["signatures"]
    assert list(signature["outputs"]) == ["scores", "evidence", "embedding"]
    size = ours.spec.image.size
    (image,) = embedded["subgraphs"][0]["inputs"]
    assert (image["name"], image["dtype"], image["shape"]) == ("image", "uint8", [1, size, size, 3])
    assert (round(1 / image["scale"], 3), image["zero_point"]) == (127.5, 128)
    convolutions = [row for row in embedded["operators"] if row["kind"].endswith("CONV_2D")]
    assert {(row["computes"], row["count"]) for row in convolutions} == {("int8", 36), ("int8", 17)}


def test_litert_runs_the_embedded_model(embedded: dict[str, Any]) -> None:
    litert, old, _ = embedded["runtimes"]
    assert (litert["runtime"], litert["runs"], litert["opened"], litert["notes"]) == (
        "ai-edge-litert",
        True,
        True,
        [],
    )
    assert (old["runtime"], old["runs"]) == ("tflite-runtime", True)


def test_layers_have_short_names(embedded: dict[str, Any]) -> None:
    names = [layer["short"] for layer in embedded["layers"]]
    assert {"Conv1_1", "block_3_expand_1", "block_2_add_1", "evidence", "logits", "scores"} <= set(names)
    assert len(set(names)) == len(names)


def test_short_names_are_unique() -> None:
    names = ["net/a/query/MatMul", "net/b/query/MatMul", "net/a/Relu;net/a/norm/add;net/stem/Conv2D", "x" * 90, ""]
    first, second, stem, long, none = short_names(names)
    assert (first, second, stem, none) == ("a/query/MatMul", "b/query/MatMul", "stem", "")
    assert len(long) == 40


def test_any_flatbuffer_is_accepted(write: Callable[[bytes], Path]) -> None:
    bare = write(pack(schema.ModelT.InitFromPackedBuf(EMBEDDED.read_bytes(), 0)))
    found = record(bare)
    assert found["sealed"] == {"state": "no"}
    assert found["members"] == {}
    assert found["quantization"]["kind"] == "full int8 body with float tail"
    assert found["runtimes"][0]["runs"]
    assert "not a spot-edge model file" in run(bare).output


def test_a_damaged_model_file_is_reported(write: Callable[[bytes], Path]) -> None:
    content = bytearray(EMBEDDED.read_bytes())
    content[len(content) // 2] ^= 1
    assert "spot-edge model file, but damaged: its bytes do not match its digest" in run(write(bytes(content))).output
    assert record(write(EMBEDDED.read_bytes()[:-30]))["sealed"]["state"] == "damaged"


@pytest.mark.parametrize(
    ("weights", "kind", "computes"),
    [
        ("float32", "float32", "float32"),
        ("dynamic", "dynamic range", "hybrid: float32, int8 weights"),
        ("weight-only", "weight-only", "float32, int8 weights dequantized"),
        ("float16", "float16 weights", "float32, float16 weights dequantized"),
    ],
)
def test_kinds_of_quantization_are_recognized(
    weights: str, kind: str, computes: str, write: Callable[[bytes], Path]
) -> None:
    found = record(write(dense(weights)))
    assert found["quantization"]["kind"] == kind
    assert [row["computes"] for row in found["operators"] if row["kind"] == "FULLY_CONNECTED"] == [computes]
    if weights == "dynamic":
        assert "not a full-integer model" in found["quantization"]["words"]


def test_an_int8_file_with_a_convolution_in_float_is_mixed(write: Callable[[bytes], Path]) -> None:
    model = schema.ModelT.InitFromPackedBuf(EMBEDDED.read_bytes(), 0)
    graph = model.subgraphs[0]
    for place in (*graph.operators[5].inputs[:2], *graph.operators[5].outputs):
        graph.tensors[place].type = Types.FLOAT32
    found = record(write(pack(model)))
    assert found["quantization"]["kind"] == "mixed"
    assert not found["runtimes"][0]["runs"]  # a graph of types that do not fit


@pytest.mark.parametrize(
    ("content", "lacking"),
    [
        (lists_operator(Codes.FULLY_CONNECTED, 10), []),
        (lists_operator(Codes.FULLY_CONNECTED, 12), ["FULLY_CONNECTED version 12 (it has up to 10)"]),
        (lists_operator(Codes.BROADCAST_TO, 1), ["BROADCAST_TO version 1 (it has 2 and up)"]),
        (lists_operator(Codes.STABLEHLO_ADD), ["STABLEHLO_ADD (unknown to it)"]),
        (lists_operator(Codes.CUSTOM, custom="Mine"), ["custom operator 'Mine' (unknown to it)"]),
        (lists_operator(Codes.CUSTOM, custom="TFLite_Detection_PostProcess"), []),
    ],
)
def test_operators_that_tflite_runtime_lacks_are_named(content: bytes, lacking: list[str]) -> None:
    assert unsupported(content) == lacking


def test_types_that_tflite_runtime_lacks_are_named() -> None:
    made = Made()
    fed = made.tensor("fed", [1], Types.BFLOAT16)
    assert unsupported(made.bytes([fed], [fed])) == ["tensors of type bfloat16"]


def test_a_file_that_litert_cannot_run_is_shown_with_the_reason(write: Callable[[bytes], Path]) -> None:
    path = write(lists_operator(Codes.CUSTOM, custom="Nowhere"))
    litert = record(path)["runtimes"][0]
    assert not litert["runs"]
    assert "Nowhere" in litert["notes"][0]
    assert re.search(r"LiteRT \S+ +cannot run it: allocating its tensors: .*Nowhere", run(path).output)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("class Interpreter:\n    def __init__(self, model_content): raise ValueError('no')\n", (False, True, "")),
        ("raise ImportError('numpy 2')\n", (True, False, "it does not work here: numpy 2")),
    ],
)
def test_an_installed_tflite_runtime_is_tried(
    body: str, verdict: tuple[bool, bool, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(body)
    (tmp_path / "tflite_runtime-2.14.0.dist-info").mkdir()
    (tmp_path / "tflite_runtime-2.14.0.dist-info" / "METADATA").write_text("Name: tflite-runtime\nVersion: 2.14.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    content = dense("float32")
    _, old, _ = try_runtimes(content, read_flatbuffer(content, "x"))
    assert (old.runs, old.opened, old.untried) == verdict
    assert old.version.startswith("2.14")


def test_weights_behind_the_flatbuffer_are_read(embedded: dict[str, Any], write: Callable[[bytes], Path]) -> None:
    model = schema.ModelT.InitFromPackedBuf(EMBEDDED.read_bytes(), 0)
    moved = [(buffer, bytes(buffer.data)) for buffer in model.buffers if buffer.data is not None]
    for buffer, data in moved:
        buffer.data, buffer.offset, buffer.size = None, 2, len(data)
    start = at = (len(pack(model)) + 15) // 16 * 16
    for buffer, data in moved:
        buffer.offset, at = at, at + (len(data) + 15) // 16 * 16
    content = pack(model).ljust(start, b"\0") + b"".join(
        data.ljust((len(data) + 15) // 16 * 16, b"\0") for _, data in moved
    )
    found = record(write(content), "--layers")
    assert found["layers"] == embedded["layers"]
    assert found["runtimes"][0]["runs"]
    with pytest.raises(ModelError, match="truncated"):
        inspect_file(write(content[:-2000]))


def test_range_and_spread_of_weights_are_those_of_the_real_values(write: Callable[[bytes], Path]) -> None:
    made = Made()
    fed = made.tensor("fed", [1, 2])
    steps = np.array([[127, -3], [0, 0], [-127, 5]], np.int8)
    own = made.tensor("own", [3, 2], Types.INT8, steps, [0.1, 1.0, 0.002])
    given = made.tensor("given", [1, 3])
    made.operator(Codes.FULLY_CONNECTED, [fed, own], given, options=schema.FullyConnectedOptionsT())
    packed = np.array([0x87, 0x10, 0x0F], np.uint8)  # two per byte: 7 -8, 0 1, -1 0
    table = made.tensor("table", [3, 2], Types.INT4, packed, [2.0])
    looked = made.tensor("looked", [1, 3])
    made.operator(Codes.FULLY_CONNECTED, [fed, table], looked, options=schema.FullyConnectedOptionsT())
    first, second = inspect_file(write(made.bytes([fed], [given, looked])), layers=True)["layers"]
    assert first["weights"]["count"] == 6
    assert first["weights"]["low"] == pytest.approx(-0.3)
    assert first["weights"]["high"] == pytest.approx(12.7)
    assert first["weights"]["spread"] == pytest.approx(12.7 / 0.254)  # the channel of zeros does not count
    assert (second["weights"]["low"], second["weights"]["high"], second["weights"]["spread"]) == (-16, 14, 8)
