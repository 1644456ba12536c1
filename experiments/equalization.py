"""Two ways to prepare a float body before int8 that the converter does not use: `ablation.py` says what they do.

Both change nothing but the numbers that are rounded: what one layer's channel gains, the next layer's loses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.quantize.ranges import interpreter_of_all

_CODES, _RELU6 = schema.BuiltinOperator, schema.ActivationFunctionType.RELU6
_ROOM = 1.2  # times what was seen may come before the six of ReLU6 cuts it off
_MOST = 8.0  # times a channel is made larger


def equalized(body: bytes, inputs: list[NDArray[np.float32]], *, weights: bool) -> bytes:
    """`body` with the channels between two layers scaled.

    With `weights`, cross-layer equalization (Nagel et al., Data-Free Quantization, 2019): the weights of a channel on
    either side are made alike in range. Else the channel's activations are made to fill the range that it shares with
    all channels. Neither may reach the six of ReLU6 where it did not before: such a channel is not made larger.
    """
    graph = Graph(unpack(body))
    largest = _largest(body, inputs)
    for first, second in _pairs(graph):
        output = graph.graph.tensors[first.outputs[0]].name.decode()
        room = np.maximum(6.0 / np.maximum(largest[output] * _ROOM, 1e-6), 1.0)
        if weights:
            ours, theirs = _reach(graph, first, 0), _reach(graph, second, 1)
            factors = np.sqrt(np.maximum(theirs, 1e-6) / np.maximum(ours, 1e-6))
        else:
            factors = np.full(len(room), _MOST)
        factors = np.minimum(np.clip(factors, 1 / _MOST, _MOST), room)
        # Where six was reached, another factor would move where it cuts off.
        factors = np.where(largest[output] >= 6.0 / _ROOM, 1.0, factors)
        _scale(graph, first, factors, outputs=True)
        _scale(graph, second, 1 / factors, outputs=False)
    return pack(graph.model)


def _pairs(graph: Graph) -> Iterator[tuple[schema.OperatorT, schema.OperatorT]]:
    """Convolutions with ReLU6 whose output one other convolution alone reads."""
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
    """Of the weights: that of the channels that it puts out, or that it takes."""
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
    """The largest value of each channel of every activation."""
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
