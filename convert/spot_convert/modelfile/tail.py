"""The float tail of every variant: `scores = softmax(mean(evidence) / temperature)`, appended to a body's flatbuffer.

The engines quantize the body (image → evidence, embedding); the tail keeps scores at float resolution, makes the mean
of the evidence exactly the logits, and holds the temperature in a four-byte buffer of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_edge.errors import CheckError

__all__ = ["append_tail"]

_OUTPUTS = ("scores", "evidence", "embedding")


def append_tail(body: bytes, classes: int, temperature: float, description: bytes) -> bytes:
    """`body` with its tail, its outputs in the contract's order and names, and `description` as its TFLite Metadata."""
    graph = Graph(unpack(body))
    signature = graph.model.signatureDefs[0]
    places = {entry.name.decode(): entry.tensorIndex for entry in signature.outputs}
    if set(places) != {"evidence", "embedding"}:
        raise CheckError("the converter did not leave the outputs evidence and embedding")
    kinds, codes, options = schema.TensorType, schema.BuiltinOperator, schema.BuiltinOptions
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    axes = graph.tensor("tail/axes", [2], kinds.INT32, np.array([1, 2], "<i4").tobytes())
    heat = graph.tensor("tail/temperature", [1], kinds.FLOAT32, np.array([temperature], "<f4").tobytes())
    logits = graph.tensor("tail/logits", [1, classes], kinds.FLOAT32)
    cooled = graph.tensor("tail/cooled", [1, classes], kinds.FLOAT32)
    places["scores"] = graph.tensor("scores", [1, classes], kinds.FLOAT32)
    graph.operator(codes.MEAN, [places["evidence"], axes], logits, options.ReducerOptions, schema.ReducerOptionsT())
    graph.operator(codes.DIV, [logits, heat], cooled, options.DivOptions, schema.DivOptionsT())
    graph.operator(codes.SOFTMAX, [cooled], places["scores"], options.SoftmaxOptions, softmax)

    _name_ends(graph.graph, signature, places)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"TFLITE_METADATA", graph.buffer(description)
    graph.model.metadata = [*(graph.model.metadata or []), entry]
    return pack(graph.model)


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
