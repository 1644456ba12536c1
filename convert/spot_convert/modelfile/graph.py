"""Unpack a flatbuffer, add to its graph, and pack it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from spot_edge.errors import CheckError

__all__ = ["Graph", "pack", "unpack"]


def unpack(flatbuffer: bytes) -> Any:
    """Unpack a flatbuffer to schema objects, including weights that LiteRT Quantizer stores behind it."""
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            data = np.frombuffer(flatbuffer, np.uint8)[buffer.offset : buffer.offset + buffer.size]
            if len(data) != buffer.size:
                raise CheckError("truncated file: weights are missing at its end")
            buffer.data, buffer.offset, buffer.size = data, 0, 0
    return model


def pack(model: Any) -> bytes:
    """Pack schema objects to a flatbuffer, with each buffer aligned to 16 bytes as the schema requires."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Graph:
    """The only subgraph of a model, with methods to add tensors and operators."""

    def __init__(self, model: Any) -> None:
        if len(model.subgraphs) != 1:
            raise CheckError(f"the converter wrote {len(model.subgraphs)} subgraphs instead of one")
        self.model, self.graph = model, model.subgraphs[0]

    def tensor(self, name: str, shape: Sequence[int], kind: int, data: bytes = b"", quantization: Any = None) -> int:
        """Add a tensor, constant if `data` is given, and return its index."""
        added = schema.TensorT()
        added.name, added.shape, added.type = name.encode(), np.array(shape, np.int32), kind
        added.quantization = quantization
        if data:
            added.buffer = self.buffer(data)
        self.graph.tensors.append(added)
        return len(self.graph.tensors) - 1

    def operator(
        self, code: int, inputs: Sequence[int], output: int, kind: int = 0, options: Any = None, *, first: bool = False
    ) -> None:
        """Add a builtin operator of version 1 at the end, or at the start if `first`."""
        added = schema.OperatorT()
        added.opcodeIndex = self._code(code)
        added.inputs, added.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        added.builtinOptionsType, added.builtinOptions = kind, options
        self.graph.operators.insert(0 if first else len(self.graph.operators), added)

    def floats(self, number: int) -> NDArray[np.float32]:
        """Return a copy of the values of a constant float32 tensor."""
        return np.asarray(self.values(number, np.float32))

    def values(self, number: int, kind: Any) -> NDArray[Any]:
        """Return a copy of the values of a constant tensor of dtype `kind`."""
        tensor = self.graph.tensors[number]
        data = np.asarray(self.model.buffers[tensor.buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), kind).reshape(tensor.shape).copy()

    def fill(self, number: int, values: NDArray[Any]) -> None:
        """Replace the values of a constant tensor by others of the same type and shape."""
        tensor = self.graph.tensors[number]
        shared = sum(other.buffer == tensor.buffer for other in self.graph.tensors) > 1
        if shared:
            tensor.buffer = self.buffer(values.tobytes())
        else:
            self.model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)

    def buffer(self, data: bytes) -> int:
        """Add a buffer and return its index."""
        added = schema.BufferT()
        added.data = np.frombuffer(data, np.uint8)
        self.model.buffers.append(added)
        return len(self.model.buffers) - 1

    def _code(self, code: int) -> int:
        """Return the index of version 1 of a builtin operator; add it if the model lacks it."""
        for index, known in enumerate(self.model.operatorCodes):
            if known.builtinCode == code and known.version == 1:
                return index
        added = schema.OperatorCodeT()
        added.builtinCode, added.deprecatedBuiltinCode, added.version = code, min(code, 127), 1
        self.model.operatorCodes.append(added)
        return len(self.model.operatorCodes) - 1


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """Align constants to 16 bytes, as the schema requires and ARM's vector loads need. The generated class does not."""

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
