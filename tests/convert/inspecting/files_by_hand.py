"""Small .tflite files with known contents, made by hand, and the inspect command. For tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner, Result

import spot_edge
from spot_convert.commands.inspect import inspect
from spot_edge.errors import SpotError

EMBEDDED = Path(spot_edge.__file__).parent / "models" / "spot-int8.tflite"
SIZE = 32
Codes, Types = schema.BuiltinOperator, schema.TensorType


def pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Made:
    """A .tflite file with one graph, built operator by operator."""

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
    """Return one FULLY_CONNECTED with float activations and weights of the given kind."""
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
    """Return a chain of 1x1 convolutions with float32 or int8 weights; `shift` holds their biases."""
    made = Made()
    last = fed = made.tensor("image", [1, SIZE, SIZE, 3])
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


def run(*arguments: object) -> Result:
    """Return the result of the command; a SpotError is its exception."""
    done = CliRunner().invoke(inspect, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, (SystemExit, SpotError)):
        raise done.exception
    return done


def record(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def errors(found: dict[str, Any]) -> list[dict[str, Any]]:
    return found["against"]["errors"]


def made_for_classes() -> bytes:
    made = Made()
    fed = made.tensor("fed", [1, 5], Types.UINT8)
    return made.bytes([fed], [fed])


def one_pooling() -> bytes:
    made = Made()
    fed, given = made.tensor("fed", [1, SIZE, SIZE, 3]), made.tensor("given", [1, SIZE, SIZE, 3])
    made.operator(Codes.RELU, [fed], given)
    return made.bytes([fed], [given])
