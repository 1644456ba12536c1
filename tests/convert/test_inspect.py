"""`spot-edge inspect` says what is true of a file: proven on files whose insides are known."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner, Result

import spot_edge
from spot_bench.drawings import draw_lesion, encode_jpeg
from spot_convert.inspect.apart import Died, apart
from spot_convert.inspect.cli import inspect
from spot_convert.inspect.feeding import pictures
from spot_convert.inspect.graph import read_flatbuffer
from spot_convert.inspect.layers import short_names
from spot_convert.inspect.report import inspect_file
from spot_convert.runtimes import judge, unsupported
from spot_edge import read_model
from spot_edge.errors import InputError, ModelError, OutputError, SpotError

EMBEDDED = Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"
SIZE = 32
Codes, Types = schema.BuiltinOperator, schema.TensorType


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Made:
    """A .tflite made by hand: one graph, built up operator by operator."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], [self.graph]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: int = Types.FLOAT32,
        data: np.ndarray | None = None,
        scales: Sequence[float] = (),
        axis: int = 0,
    ) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), np.array(shape, np.int32), kind
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        if len(scales):
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.array(scales, np.float32)
            made.quantization.zeroPoint = np.zeros(len(scales), np.int64)
            made.quantization.quantizedDimension = axis
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(
        self,
        kind: int,
        inputs: Sequence[int],
        output: int,
        version: int = 1,
        custom: str | None = None,
        options: Any = None,
    ) -> None:
        code, made = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = kind, min(kind, 127), version
        code.customCode = custom.encode() if custom else None
        self.model.operatorCodes.append(code)
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            made.builtinOptionsType, made.builtinOptions = getattr(schema.BuiltinOptions, name), options
        self.graph.operators.append(made)

    def bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        return pack(self.model)


def dense(weights: str) -> bytes:
    """One FULLY_CONNECTED of float activations, with weights of the given kind."""
    made = Made()
    fed, given = made.tensor("fed", [1, 2]), made.tensor("given", [1, 3])
    values = np.arange(6, dtype=np.int8).reshape(3, 2)
    match weights:
        case "float32":
            own = made.tensor("own", [3, 2], Types.FLOAT32, values.astype(np.float32))
        case "dynamic":
            own = made.tensor("own", [3, 2], Types.INT8, values, [0.5])
        case "weight-only" | "float16":
            small = weights == "float16"
            kept = values.astype(np.float16) if small else values
            kind = Types.FLOAT16 if small else Types.INT8
            stored = made.tensor("stored", [3, 2], kind, kept, () if small else [0.5])
            own = made.tensor("own", [3, 2])
            made.operator(Codes.DEQUANTIZE, [stored], own)
    made.operator(Codes.FULLY_CONNECTED, [fed, own], given, options=schema.FullyConnectedOptionsT())
    return made.bytes([fed], [given])


def lists_operator(kind: int, version: int = 1, custom: str | None = None) -> bytes:
    made = Made()
    fed, given = made.tensor("fed", [1]), made.tensor("given", [1])
    made.operator(kind, [fed], given, version, custom)
    return made.bytes([fed], [given])


def chain_weights(seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(4, 1, 1, width)).astype(np.float32) for width in (3, 4, 4, 4, 4)]


def chain(weights: Sequence[np.ndarray], *, int8: bool, shift: Sequence[float] = (0, 0, 0, 0, 0)) -> bytes:
    """1x1 convolutions in a row, over a float picture, in float32 or with int8 weights; `shift` is each one's bias."""
    made = Made()
    last = fed = made.tensor("picture", [1, SIZE, SIZE, 3])
    for number, (values, bias) in enumerate(zip(weights, shift, strict=True)):
        if int8:
            scales = np.abs(values).max(axis=(1, 2, 3)) / 127
            steps = np.round(values / scales[:, None, None, None]).astype(np.int8)
            own = made.tensor(f"w{number}", values.shape, Types.INT8, steps, scales)
        else:
            own = made.tensor(f"w{number}", values.shape, Types.FLOAT32, values)
        added = made.tensor(f"b{number}", [4], Types.FLOAT32, np.full(4, bias, np.float32))
        given = made.tensor(f"net/layer{number}/Conv2D", [1, SIZE, SIZE, 4])
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
        made.operator(Codes.CONV_2D, [last, own, added], given, options=options)
        last = given
    return made.bytes([fed], [last])


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    numbers = itertools.count()

    def written(content: bytes) -> Path:
        path = tmp_path / f"file{next(numbers)}.tflite"
        path.write_bytes(content)
        return path

    return written


def run(*arguments: object) -> Result:
    """The command's result; a SpotError is its exception."""
    done = CliRunner().invoke(inspect, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, (SystemExit, SpotError)):
        raise done.exception
    return done


def record(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def embedded() -> dict[str, Any]:
    return record(EMBEDDED, "--layers")


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


def test_litert_really_runs_the_embedded_model(embedded: dict[str, Any]) -> None:
    litert, old, _ = embedded["runtimes"]
    assert (litert["runtime"], litert["runs"], litert["opened"], litert["remarks"]) == (
        "ai-edge-litert",
        True,
        True,
        [],
    )
    assert (old["runtime"], old["runs"]) == ("tflite-runtime", True)


def test_layers_are_called_by_their_names(embedded: dict[str, Any]) -> None:
    names = [layer["short"] for layer in embedded["layers"]]
    assert {"Conv1_1", "block_3_expand_1", "block_2_add_1", "evidence", "logits", "scores"} <= set(names)
    assert len(set(names)) == len(names)


def test_the_same_last_name_is_told_apart() -> None:
    names = ["net/a/query/MatMul", "net/b/query/MatMul", "net/a/Relu;net/a/norm/add;net/stem/Conv2D", "x" * 90, ""]
    first, second, stem, long, none = short_names(names)
    assert (first, second, stem, none) == ("a/query/MatMul", "b/query/MatMul", "stem", "")
    assert len(long) == 40


def test_a_flatbuffer_without_our_seal_is_fine(write: Callable[[bytes], Path]) -> None:
    bare = write(pack(schema.ModelT.InitFromPackedBuf(EMBEDDED.read_bytes(), 0)))
    found = record(bare)
    assert found["sealed"] == {"state": "no"}
    assert found["members"] == {}
    assert found["quantization"]["kind"] == "full int8 body with float tail"
    assert found["runtimes"][0]["runs"]
    assert "not one of ours" in run(bare).output


def test_a_damaged_file_of_ours_is_said(write: Callable[[bytes], Path]) -> None:
    content = bytearray(EMBEDDED.read_bytes())
    content[len(content) // 2] ^= 1
    assert "one of ours, but damaged: its bytes do not match its digest" in run(write(bytes(content))).output
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
def test_kinds_of_quantization_are_told_apart(
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
        (lists_operator(Codes.STABLEHLO_ADD), ["STABLEHLO_ADD (it has none)"]),
        (lists_operator(Codes.CUSTOM, custom="Mine"), ["custom operator 'Mine' (it has none so named)"]),
        (lists_operator(Codes.CUSTOM, custom="TFLite_Detection_PostProcess"), []),
    ],
)
def test_operators_that_the_old_runtime_lacks_are_named(content: bytes, lacking: list[str]) -> None:
    assert unsupported(content) == lacking


def test_a_type_that_the_old_runtime_lacks_is_named() -> None:
    made = Made()
    fed = made.tensor("fed", [1], Types.BFLOAT16)
    assert unsupported(made.bytes([fed], [fed])) == ["tensors of type bfloat16"]


def test_a_file_that_litert_refuses_is_shown_with_the_reason(write: Callable[[bytes], Path]) -> None:
    path = write(lists_operator(Codes.CUSTOM, custom="Nowhere"))
    litert = record(path)["runtimes"][0]
    assert not litert["runs"]
    assert "Nowhere" in litert["remarks"][0]
    assert re.search(r"LiteRT \S+ +refuses it: allocating its tensors: .*Nowhere", run(path).output)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("class Interpreter:\n    def __init__(self, model_content): raise ValueError('no')\n", (False, True, "")),
        ("raise ImportError('numpy 2')\n", (True, False, "it does not work here: numpy 2")),
    ],
)
def test_an_old_runtime_that_is_installed_is_really_tried(
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
    _, old, _ = judge(content, read_flatbuffer(content, "x"))
    assert (old.runs, old.opened, old.untried) == verdict
    assert old.version.startswith("2.14")


def test_weights_outside_the_flatbuffer_are_the_same_weights(
    embedded: dict[str, Any], write: Callable[[bytes], Path]
) -> None:
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
    packed = np.array([0x87, 0x10, 0x0F], np.uint8)  # two in a byte: 7 -8, 0 1, -1 0
    table = made.tensor("table", [3, 2], Types.INT4, packed, [2.0])
    looked = made.tensor("looked", [1, 3])
    made.operator(Codes.FULLY_CONNECTED, [fed, table], looked, options=schema.FullyConnectedOptionsT())
    first, second = inspect_file(write(made.bytes([fed], [given, looked])), layers=True)["layers"]
    assert first["weights"]["count"] == 6
    assert first["weights"]["low"] == pytest.approx(-0.3)
    assert first["weights"]["high"] == pytest.approx(12.7)
    assert first["weights"]["spread"] == pytest.approx(12.7 / 0.254)  # the channel of zeros does not count
    assert (second["weights"]["low"], second["weights"]["high"], second["weights"]["spread"]) == (-16, 14, 8)


def errors(found: dict[str, Any]) -> list[dict[str, Any]]:
    return found["against"]["errors"]


def test_a_file_is_its_own_exact_twin(write: Callable[[bytes], Path]) -> None:
    path = write(chain(chain_weights(), int8=False))
    found = record(path, "--layers", "--against", path)
    assert [(each["rms"], each["sqnr_db"]) for each in errors(found)] == [(0, None)] * 5
    assert found["against"]["worst"] == []
    assert any("fed grey levels x as x/127.5-1" in remark for remark in found["against"]["remarks"])
    assert "No layer differs." in run(path, "--layers", "--against", path).output


def test_a_shifted_layer_has_just_that_error_and_bias(write: Callable[[bytes], Path]) -> None:
    weights, shift = chain_weights(), 0.25
    plain, moved = (chain(weights, int8=False, shift=(0, 0, each, 0, 0)) for each in (0, shift))
    found = errors(record(write(moved), "--layers", "--against", write(plain)))
    values = np.concatenate(pictures(SIZE, ())).astype(np.float64) / 127.5 - 1
    for each in weights[:3]:
        values = values @ each[:, 0, 0].T
    strength = np.sqrt((values**2).mean())
    assert [each["rms"] for each in found[:2]] == [0, 0]
    assert found[2]["rms"] == pytest.approx(shift / strength, rel=1e-4)
    assert found[2]["bias"] == pytest.approx(shift / strength, rel=1e-4)
    assert found[2]["sqnr_db"] == pytest.approx(20 * np.log10(strength / shift), abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "scale", "fed", "largest"),
    [(Types.UINT8, 1 / 255, r"\(x-0\)\*0.003922", 1e-6), (Types.INT8, 1 / 127.5, "x/127.5-1", 0.02)],
)
def test_a_float_twin_is_shown_what_a_quantized_input_stands_for(
    kind: int, scale: float, fed: str, largest: float, write: Callable[[bytes], Path]
) -> None:
    weights = chain_weights()
    twin = chain(weights, int8=False)
    model = schema.ModelT.InitFromPackedBuf(twin, 0)
    made = Made()
    made.model, made.graph = model, model.subgraphs[0]
    (floats,), outputs = made.graph.inputs, made.graph.outputs
    pixels = made.tensor("pixels", [1, SIZE, SIZE, 3], kind, scales=[scale])
    made.operator(Codes.DEQUANTIZE, [pixels], floats, version=2)
    made.graph.operators.insert(0, made.graph.operators.pop())
    found = record(write(made.bytes([pixels], outputs)), "--layers", "--against", write(twin))
    assert max(each["rms"] for each in errors(found)) <= largest
    assert re.search(f"as {fed}$", found["against"]["remarks"][-1])


def test_an_int8_layer_is_compared_in_real_values(write: Callable[[bytes], Path]) -> None:
    shape, step, zero = [1, SIZE, SIZE, 3], 0.01, -20
    own, twin = Made(), Made()
    fed = own.tensor("picture", shape)
    small, kept = (own.tensor(name, shape, Types.INT8, scales=[step]) for name in ("small", "kept"))
    for place in (small, kept):
        own.graph.tensors[place].quantization.zeroPoint[:] = zero
    given = own.tensor("given", shape)
    own.operator(Codes.QUANTIZE, [fed], small)
    own.operator(Codes.RELU, [small], kept, version=2)
    own.operator(Codes.DEQUANTIZE, [kept], given, version=2)
    other, result = twin.tensor("picture", shape), twin.tensor("result", shape)
    twin.operator(Codes.RELU, [other], result)
    contents = own.bytes([fed], [given]), twin.bytes([other], [result])
    (found,) = errors(record(write(contents[0]), "--layers", "--against", write(contents[1])))
    strength = np.sqrt((np.maximum(np.concatenate(pictures(SIZE, ())) / 127.5 - 1, 0) ** 2).mean())
    assert 0.1 * step / strength < found["rms"] < 0.5 * step / strength  # half a step at most, some at zero exactly


def test_a_layer_whose_weights_were_changed_stands_out(write: Callable[[bytes], Path]) -> None:
    weights = chain_weights()
    twin = write(chain(weights, int8=False))
    sound = [
        each["sqnr_db"] for each in errors(record(write(chain(weights, int8=True)), "--layers", "--against", twin))
    ]
    assert min(sound) > 25  # eight bits
    changed = write(chain([*weights[:3], weights[3] * np.float32(1.3), weights[4]], int8=True))
    found = [each["sqnr_db"] for each in errors(record(changed, "--layers", "--against", twin))]
    assert found[:3] == pytest.approx(sound[:3])
    assert found[3] == pytest.approx(20 * np.log10(1 / 0.3), abs=0.5)
    assert "Worst: layer" in run(changed, "--layers", "--against", twin).output


def test_named_pictures_are_the_ones_compared(write: Callable[[bytes], Path], tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(encode_jpeg(draw_lesion(seed=99, width=80, height=60)))
    weights = chain_weights()
    own, twin = write(chain(weights, int8=True)), write(chain(weights, int8=False))
    drawn, named = (record(own, "--layers", "--against", twin, *more) for more in ((), ("--image", photo)))
    assert (drawn["against"]["pictures"], drawn["against"]["drawn"]) == (8, True)
    assert (named["against"]["pictures"], named["against"]["drawn"]) == (1, False)
    assert errors(drawn) != errors(named)


def test_what_is_no_float_twin_is_refused(write: Callable[[bytes], Path]) -> None:
    own = write(chain(chain_weights(), int8=True))
    cases = {
        "with other weights": write(chain(chain_weights(seed=1), int8=False)),
        "takes uint8": write(made_for_classes()),
        r"takes \[1, \d+, \d+, 3\] where": EMBEDDED,
        "0 of 5 weighted layers": write(one_pooling()),
    }
    for reason, other in cases.items():
        done = run(own, "--layers", "--against", other)
        assert isinstance(done.exception, ModelError), reason
        assert re.search(reason, str(done.exception)), done.exception
        assert "\n" not in str(done.exception)
    done = run(EMBEDDED, "--layers", "--against", EMBEDDED)
    assert "Conv1_1 is int8, not float32" in str(done.exception)


def made_for_classes() -> bytes:
    made = Made()
    fed = made.tensor("fed", [1, 5], Types.UINT8)
    return made.bytes([fed], [fed])


def one_pooling() -> bytes:
    made = Made()
    fed, given = made.tensor("fed", [1, SIZE, SIZE, 3]), made.tensor("given", [1, SIZE, SIZE, 3])
    made.operator(Codes.RELU, [fed], given)
    return made.bytes([fed], [given])


def test_a_real_int8_file_keeps_near_its_float_twin(shapes_family: Path) -> None:
    found = record(
        shapes_family / "shapes-int8.tflite", "--layers", "--against", shapes_family / "shapes-float32.tflite"
    )
    weighted = {layer["index"] for layer in found["layers"] if layer["kind"].endswith("CONV_2D")}
    measured = {each["index"]: each for each in errors(found)}
    assert len(weighted) == 53
    assert weighted <= set(measured)
    assert all(0 < measured[index]["rms"] < 0.4 for index in weighted)  # each file divides by a temperature of its own
    assert measured[min(weighted)]["rms"] < 0.02
    assert len(found["against"]["worst"]) == 3
    assert record(shapes_family / "shapes-float32.tflite")["quantization"]["kind"] == "float32"


@pytest.mark.parametrize("content", [b"", b"TFL", os.urandom(5000), b"\x10\0\0\0TFL3" + b"\xff" * 5000])
def test_garbage_ends_in_one_line(content: bytes, write: Callable[[bytes], Path]) -> None:
    done = run(write(content))
    assert isinstance(done.exception, ModelError)
    assert "\n" not in str(done.exception)


def test_an_absent_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in str(run(tmp_path / "none.tflite").exception)
    assert "a folder" in str(run(tmp_path).exception)


def test_a_damaged_structure_never_escapes_as_another_error(
    write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spot_convert.inspect.report.judge", lambda content, model: [])  # a process for each takes long
    sound, chance, refused = chain(chain_weights(), int8=True), random.Random(5), 0
    for _ in range(300):
        content = bytearray(sound)
        for _ in range(chance.choice([1, 2, 20])):
            place = chance.randrange(8, len(content) - 4)
            content[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", os.urandom(4)])
        done = run(write(bytes(content)), "--layers", "--json")
        refused += isinstance(done.exception, ModelError)
    assert 0 < refused < 300


def test_a_count_that_no_file_has_is_refused_at_once() -> None:
    made = Made()
    fed = made.tensor("fed", [1])
    made.graph.operators = []
    content = bytearray(made.bytes([fed], [fed]) + bytes(1 << 20))
    model = schema.Model.GetRootAs(bytes(content), 0)
    length = model.Subgraphs(0)._tab.Vector(model.Subgraphs(0)._tab.Offset(4)) - 4
    content[length : length + 4] = (600_000).to_bytes(4, "little")
    with pytest.raises(ModelError, match="more than 500000 parts"):
        read_flatbuffer(bytes(content), "x")


def test_options_that_need_another_are_refused() -> None:
    for arguments in (("--against", EMBEDDED), ("--layers", "--image", "x.jpg")):
        assert run(EMBEDDED, *arguments).exit_code == 2


def test_a_picture_that_cannot_be_decoded_leaves_no_page(tmp_path: Path, write: Callable[[bytes], Path]) -> None:
    path, page = write(chain(chain_weights(), int8=False)), tmp_path / "page.html"
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    done = run(path, "--layers", "--against", path, "--image", tmp_path / "no.jpg", "--html", page)
    assert isinstance(done.exception, InputError)
    assert not page.exists()


def test_a_page_is_never_written_over_another(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert isinstance(run(EMBEDDED, "--html", page).exception, OutputError)
    assert page.read_text() == "mine"
    assert isinstance(run(EMBEDDED, "--html", tmp_path / "none" / "page.html").exception, OutputError)


def test_the_page_needs_nothing_else_and_holds_everything(write: Callable[[bytes], Path], tmp_path: Path) -> None:
    weights, page = chain_weights(), tmp_path / "page.html"
    own, twin = write(chain(weights, int8=True)), write(chain(weights, int8=False))
    done = run(own, "--layers", "--against", twin, "--html", page)
    assert done.exit_code == 0
    text = page.read_text()
    assert not re.search(r"<script|<link|<img|src=|https?:|url\(|@import", text)
    assert text.count('class="row"') == 2 * len(weights)  # an error and a range of weights each
    for heading in ("Operators", "Error of each layer", "Weights of each layer", "Layers"):
        assert f"<h2>{heading}</h2>" in text
    assert "dynamic range" in text
    assert 'name="viewport"' in text


def test_names_in_a_file_disturb_neither_terminal_nor_page(write: Callable[[bytes], Path], tmp_path: Path) -> None:
    made = Made()
    fed, given = made.tensor("\x1b[31m<script>\n", [1]), made.tensor("given", [1])
    made.operator(Codes.RELU, [fed], given)
    page = tmp_path / "page.html"
    done = run(write(made.bytes([fed], [given])), "--layers", "--html", page)
    assert "\x1b" not in done.output
    assert "\\x1b[31m<script>\\n" in done.output
    assert "<script" not in page.read_text()


def test_a_function_that_ends_its_process_is_reported() -> None:
    with pytest.raises(Died, match="SIGABRT"):
        apart(60, os.abort)
    with pytest.raises(Died, match="within 1 second"):
        apart(1, time.sleep, 60)
    with pytest.raises(Died, match="ZeroDivisionError"):
        apart(60, divmod, 1, 0)


def test_tensorflow_is_never_imported() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom spot_convert.inspect.cli import inspect\n"
        f"done = CliRunner().invoke(inspect, [{str(EMBEDDED)!r}, '--layers'])\nassert done.exit_code == 0\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
