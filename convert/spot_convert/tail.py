"""The float tail of every variant: `scores = softmax(mean(evidence) / temperature)`, appended to a body's flatbuffer.

The engines quantize the body (image → evidence, embedding); the tail keeps scores at float resolution, makes the mean
of the evidence exactly the logits, and holds the temperature in a four-byte buffer of its own.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from spot_edge.errors import CheckError

__all__ = ["append_tail", "pack", "unpack"]

_OUTPUTS = ("scores", "evidence", "embedding")


def append_tail(body: bytes, classes: int, temperature: float, description: bytes) -> bytes:
    """`body` with its tail, its outputs in the contract's order and names, and `description` as its TFLite Metadata."""
    model = unpack(body)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    places = {entry.name.decode(): entry.tensorIndex for entry in signature.outputs}
    if len(model.subgraphs) != 1 or set(places) != {"evidence", "embedding"}:
        raise CheckError("the converter did not leave one subgraph with the outputs evidence and embedding")

    def tensor(name: str, shape: list[int], kind: int, data: bytes = b"") -> int:
        added = schema.TensorT()
        added.name, added.shape, added.type = name.encode(), np.array(shape, np.int32), kind
        if data:
            added.buffer = _add_buffer(model, data)
        graph.tensors.append(added)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int, options: Any) -> None:
        added = schema.OperatorT()
        added.opcodeIndex = _operator_code(model, code)
        added.inputs, added.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        added.builtinOptionsType, added.builtinOptions = kind, options
        graph.operators.append(added)

    kinds, codes, options = schema.TensorType, schema.BuiltinOperator, schema.BuiltinOptions
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    axes = tensor("tail/axes", [2], kinds.INT32, np.array([1, 2], "<i4").tobytes())
    heat = tensor("tail/temperature", [1], kinds.FLOAT32, np.array([temperature], "<f4").tobytes())
    logits = tensor("tail/logits", [1, classes], kinds.FLOAT32)
    cooled = tensor("tail/cooled", [1, classes], kinds.FLOAT32)
    places["scores"] = tensor("scores", [1, classes], kinds.FLOAT32)
    operator(codes.MEAN, [places["evidence"], axes], logits, options.ReducerOptions, schema.ReducerOptionsT())
    operator(codes.DIV, [logits, heat], cooled, options.DivOptions, schema.DivOptionsT())
    operator(codes.SOFTMAX, [cooled], places["scores"], options.SoftmaxOptions, softmax)

    _name_ends(graph, signature, places)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", _add_buffer(model, description)
    model.metadata = [*(model.metadata or []), entry]
    return pack(model)


def unpack(flatbuffer: bytes) -> Any:
    """A flatbuffer as schema objects. Weights that lie outside of it cannot be carried over and are refused."""
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    if any(buffer.offset > 1 for buffer in model.buffers):
        raise CheckError("the file keeps its weights outside the flatbuffer: inline them first")
    return model


def pack(model: Any) -> bytes:
    """Schema objects as a flatbuffer, each buffer on a 16-byte boundary as the schema asks."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """The generated class would put constants on any boundary; ARM's vector loads want the schema's sixteen bytes."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the generated code's name
        vector = None
        if self.data is not None and len(self.data):
            data = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(data), 16)
            builder.head = builder.Head() - len(data)
            builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def _add_buffer(model: Any, data: bytes) -> int:
    added = schema.BufferT()
    added.data = np.frombuffer(data, np.uint8)
    model.buffers.append(added)
    return len(model.buffers) - 1


def _operator_code(model: Any, code: int) -> int:
    """The index of version 1 of a builtin operator, added where the body has none."""
    for index, known in enumerate(model.operatorCodes):
        if known.builtinCode == code and known.version == 1:
            return index
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = code
    added.version = 1
    model.operatorCodes.append(added)
    return len(model.operatorCodes) - 1


def _name_ends(graph: Any, signature: Any, places: dict[str, int]) -> None:
    """Inputs and outputs under the contract's names, in its order, in the graph and in the signature."""
    signature.inputs[0].name = graph.tensors[signature.inputs[0].tensorIndex].name = b"image"
    graph.outputs = np.array([places[name] for name in _OUTPUTS], np.int32)
    signature.outputs = []
    for name in _OUTPUTS:
        graph.tensors[places[name]].name = name.encode()
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), places[name]
        signature.outputs.append(entry)
