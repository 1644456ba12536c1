"""Read any .tflite file as plain data: tensors, operators, signatures, metadata. Damaged files raise ModelError.

The generated schema classes read lazily and may raise anything on a damaged file. Absurd counts stop the reader before
it can hang. Weights may be inside the flatbuffer or behind it, where LiteRT Quantizer stores them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from spot_edge.errors import ModelError

__all__ = ["Code", "Flatbuffer", "Graph", "Operator", "Signature", "Tensor", "read_flatbuffer"]

MAX_PARTS = 500_000  # tensors, operators, indices and the like in one file
_OUTSIDE = 1  # a buffer with a larger offset is stored outside the flatbuffer


def _names(kind: Any) -> dict[int, str]:
    return {number: name for name, number in vars(kind).items() if isinstance(number, int)}


_KINDS, _TYPES = _names(schema.BuiltinOperator), _names(schema.TensorType)


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of operator and the version that the file needs."""

    kind: str
    version: int
    custom: str | None  # the name of a custom operator


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor. A constant has its bytes in `data`."""

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    data: NDArray[np.uint8] | None = field(repr=False, compare=False)
    scales: NDArray[np.float32] = field(repr=False, compare=False)  # none, one, or one per channel
    zeros: NDArray[np.int64] = field(repr=False, compare=False)
    axis: int  # of the channels that the scales belong to
    plain: bool  # neither sparse nor quantized in blocks: the bytes are the values in order


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the graph. Omitted inputs are -1."""

    code: Code
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """One subgraph, with its operators in execution order."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A named entry point: the names of its inputs and outputs, and their tensors in a subgraph."""

    key: str
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


@dataclass(frozen=True, slots=True)
class Flatbuffer:
    """The contents of a .tflite file."""

    version: int
    description: str
    codes: tuple[Code, ...]
    graphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...]
    metadata: dict[str, bytes] = field(repr=False)


def read_flatbuffer(content: bytes, name: str) -> Flatbuffer:
    """Read the flatbuffer at the start of `content`. Raise ModelError if it is not a complete one."""
    if not content:
        raise ModelError(f"{name}: empty")
    if content[4:8] != b"TFL3":
        raise ModelError(f"{name}: not a .tflite file")
    try:
        return _Reader(content, name).flatbuffer()
    except ModelError:
        raise
    except Exception as error:  # on garbage the generated classes raise nearly anything
        raise ModelError(f"{name}: damaged or truncated .tflite file") from error


class _Reader:
    """Counts the parts still allowed, and holds the buffers that tensors point to."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._name, self._left = content, name, MAX_PARTS
        self._model = schema.Model.GetRootAs(content, 0)
        self._buffers = [self._bytes(self._model.Buffers(i)) for i in self._upto(self._model.BuffersLength())]

    def flatbuffer(self) -> Flatbuffer:
        model = self._model
        codes = [self._code(model.OperatorCodes(i)) for i in self._upto(model.OperatorCodesLength())]
        graphs = [self._graph(model.Subgraphs(i), codes) for i in self._upto(model.SubgraphsLength())]
        if not graphs:
            raise ModelError(f"{self._name}: contains no graph")
        signatures = [self._signature(model.SignatureDefs(i), graphs) for i in self._upto(model.SignatureDefsLength())]
        entries = [model.Metadata(i) for i in self._upto(model.MetadataLength())]
        metadata = {self._text(entry.Name()): self._buffers[entry.Buffer()] for entry in entries}
        return Flatbuffer(
            model.Version(),
            self._text(model.Description()),
            tuple(codes),
            tuple(graphs),
            tuple(signatures),
            {key: b"" if data is None else data.tobytes() for key, data in metadata.items()},
        )

    def _upto(self, count: int) -> range:
        self._left -= count
        if self._left < 0:
            raise ModelError(f"{self._name}: damaged .tflite file: more than {MAX_PARTS} parts")
        return range(count)

    def _text(self, text: bytes | None) -> str:
        self._upto(len(text or b"") // 64)
        return (text or b"").decode(errors="backslashreplace")

    def _integers(self, numbers: Any) -> tuple[int, ...]:
        """Convert a vector of integers. The generated classes return the number 0 if there is none."""
        if isinstance(numbers, int):
            return ()
        self._upto(len(numbers))
        return tuple(numbers.tolist())

    def _bytes(self, buffer: Any) -> NDArray[np.uint8] | None:
        if buffer.Offset() > _OUTSIDE:
            return np.frombuffer(self._content, np.uint8, buffer.Size(), buffer.Offset())
        return np.asarray(buffer.DataAsNumpy(), np.uint8) if buffer.DataLength() else None

    def _code(self, code: Any) -> Code:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = self._text(code.CustomCode()) if number == schema.BuiltinOperator.CUSTOM else None
        return Code(_KINDS.get(number, f"operator {number}"), code.Version(), custom)

    def _graph(self, graph: Any, codes: list[Code]) -> Graph:
        tensors = tuple(self._tensor(graph.Tensors(i), i) for i in self._upto(graph.TensorsLength()))

        def places(numbers: Any, lowest: int = 0) -> tuple[int, ...]:
            found = self._integers(numbers)
            if any(not lowest <= place < len(tensors) for place in found):
                raise ModelError(f"{self._name}: damaged .tflite file: it refers to a missing tensor")
            return found

        def operators() -> Iterator[Operator]:
            for i in self._upto(graph.OperatorsLength()):
                one = graph.Operators(i)
                yield Operator(
                    codes[one.OpcodeIndex()], places(one.InputsAsNumpy(), -1), places(one.OutputsAsNumpy(), -1)
                )

        name, inputs, outputs = self._text(graph.Name()), graph.InputsAsNumpy(), graph.OutputsAsNumpy()
        return Graph(name, tensors, tuple(operators()), places(inputs), places(outputs))

    def _tensor(self, tensor: Any, index: int) -> Tensor:
        quantization = tensor.Quantization()
        scaled = quantization is not None and quantization.ScaleLength() > 0
        scales = np.asarray(quantization.ScaleAsNumpy() if scaled else [], np.float32)
        if not np.isfinite(scales).all():
            raise ModelError(f"{self._name}: damaged .tflite file: a scale is NaN or infinite")
        zeroed = scaled and quantization.ZeroPointLength() > 0
        return Tensor(
            index,
            self._text(tensor.Name()),
            _TYPES.get(tensor.Type(), f"type {tensor.Type()}").lower(),
            self._integers(tensor.ShapeAsNumpy()),
            self._buffers[tensor.Buffer()],
            scales,
            np.asarray(quantization.ZeroPointAsNumpy() if zeroed else np.zeros(len(scales)), np.int64),
            quantization.QuantizedDimension() if scaled else 0,
            tensor.Sparsity() is None and (quantization is None or quantization.DetailsType() == 0),
        )

    def _signature(self, signature: Any, graphs: list[Graph]) -> Signature:
        tensors = graphs[signature.SubgraphIndex()].tensors
        inputs = [signature.Inputs(i) for i in self._upto(signature.InputsLength())]
        outputs = [signature.Outputs(i) for i in self._upto(signature.OutputsLength())]
        named = [
            {self._text(entry.Name()): tensors[entry.TensorIndex()].index for entry in entries}
            for entries in (inputs, outputs)
        ]
        return Signature(self._text(signature.SignatureKey()), signature.SubgraphIndex(), *named)
