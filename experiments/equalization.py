"""Equalize channels before int8 quantization, in two ways. `experiments.quantization_ablation` measures the effect.

Both keep what the float network computes: one layer's channel is multiplied by a factor, and the next layer divides by
it. Only the rounding changes. The converter uses neither.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.quantize.ranges import interpreter_of_all

_CODES, _RELU6 = schema.BuiltinOperator, schema.ActivationFunctionType.RELU6
_HEADROOM = 1.2  # activations may exceed the measured maximum by this factor before ReLU6 clips them
_MAX_FACTOR = 8.0


def equalized(body: bytes, inputs: list[NDArray[np.float32]], *, weights: bool) -> bytes:
    """Scale the channels between pairs of layers of `body`.

    With `weights`, use cross-layer equalization (Nagel et al., Data-Free Quantization, 2019): give the weights of a
    channel the same range on both sides. Otherwise enlarge the activations of each channel to fill the range that all
    channels share. Channels that would newly reach the limit of ReLU6 are not enlarged.
    """
    graph = Graph(unpack(body))
    largest = _largest(body, inputs)
    for first, second in _pairs(graph):
        output = graph.graph.tensors[first.outputs[0]].name.decode()
        limit = np.maximum(6.0 / np.maximum(largest[output] * _HEADROOM, 1e-6), 1.0)
        if weights:
            ours, theirs = _reach(graph, first, 0), _reach(graph, second, 1)
            factors = np.sqrt(np.maximum(theirs, 1e-6) / np.maximum(ours, 1e-6))
        else:
            factors = np.full(len(limit), _MAX_FACTOR)
        factors = np.minimum(np.clip(factors, 1 / _MAX_FACTOR, _MAX_FACTOR), limit)
        # A channel that is clipped at 6 keeps its scale, or it would be clipped elsewhere.
        factors = np.where(largest[output] >= 6.0 / _HEADROOM, 1.0, factors)
        _scale(graph, first, factors, outputs=True)
        _scale(graph, second, 1 / factors, outputs=False)
    return pack(graph.model)


def _pairs(graph: Graph) -> Iterator[tuple[schema.OperatorT, schema.OperatorT]]:
    """Yield convolutions with ReLU6 whose output only one other convolution reads."""
    kinds = (_CODES.CONV_2D, _CODES.DEPTHWISE_CONV_2D)
    for first in graph.graph.operators:
        readers = [other for other in graph.graph.operators if first.outputs[0] in other.inputs]
        if (
            _code(graph, first) in kinds
            and first.builtinOptions.fusedActivationFunction == _RELU6
            and len(readers) == 1
            and _code(graph, readers[0]) in kinds
        ):
            yield first, readers[0]


def _code(graph: Graph, operator: schema.OperatorT) -> int:
    return int(graph.model.operatorCodes[operator.opcodeIndex].builtinCode)


def _axis(graph: Graph, operator: schema.OperatorT, *, outputs: bool) -> int:
    """Return the axis of the output or input channels in the weights."""
    return 3 if _code(graph, operator) == _CODES.DEPTHWISE_CONV_2D or not outputs else 0


def _reach(graph: Graph, operator: schema.OperatorT, side: int) -> NDArray[np.float32]:
    kernel = graph.floats(operator.inputs[1])
    axis = _axis(graph, operator, outputs=side == 0)
    reach: NDArray[np.float32] = np.abs(np.moveaxis(kernel, axis, 0)).reshape(kernel.shape[axis], -1).max(axis=1)
    return reach


def _scale(graph: Graph, operator: schema.OperatorT, factors: NDArray[np.float64], *, outputs: bool) -> None:
    kernel = graph.floats(operator.inputs[1])
    shape = [1] * kernel.ndim
    shape[_axis(graph, operator, outputs=outputs)] = -1
    graph.fill(operator.inputs[1], (kernel * factors.reshape(shape)).astype(np.float32))
    if outputs:
        graph.fill(operator.inputs[2], (graph.floats(operator.inputs[2]) * factors).astype(np.float32))


def _largest(body: bytes, inputs: list[NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return the largest value of each channel of every activation."""
    engine = interpreter_of_all(body)
    entry = engine.get_input_details()[0]["index"]
    graph = unpack(body).subgraphs[0]
    computed = {int(number) for operator in graph.operators for number in operator.outputs}
    details = [d for d in engine.get_tensor_details() if d["index"] in computed and len(d["shape"]) == 4]
    found: dict[str, NDArray[np.float32]] = {}
    for tensor in inputs:
        engine.set_tensor(entry, tensor)
        engine.invoke()
        for detail in details:
            most = engine.get_tensor(detail["index"]).max(axis=(0, 1, 2))
            found[detail["name"]] = np.maximum(found.get(detail["name"], most), most)
    return found
