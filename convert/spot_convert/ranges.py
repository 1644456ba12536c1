"""Between what values every layer's output lies, over all pictures that are shown: what int8 and int16 are laid over.

LiteRT Quantizer's own calibration keeps a moving average, in which the last twenty pictures outweigh all others, and
cuts off what lies beyond it: with it int8 moved the embedded model's logits 1.7 times as far.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from spot_convert.graph import Graph, unpack

__all__ = ["Ranges", "activation_ranges", "interpreter_of_all"]

# by tensor: its "min" and its "max", in the shape that the quantizer wants
Ranges: TypeAlias = dict[str, dict[str, NDArray[np.float32]]]


def activation_ranges(body: bytes, inputs: Iterable[NDArray[np.float32]]) -> Ranges:
    """Least and largest value of every tensor that `body`, a float32 network of one input, computes from `inputs`."""
    graph = Graph(unpack(body))
    engine = interpreter_of_all(body)
    computed = {number for operator in graph.graph.operators for number in operator.outputs}
    watched = [
        detail
        for detail in engine.get_tensor_details()
        if detail["dtype"] == np.float32 and (detail["index"] in computed or detail["index"] in graph.graph.inputs)
    ]
    found: Ranges = {}
    for tensor in inputs:
        engine.set_tensor(engine.get_input_details()[0]["index"], tensor)
        engine.invoke()
        for detail in watched:
            value = engine.get_tensor(detail["index"])
            ends = {"min": value.min(keepdims=True), "max": value.max(keepdims=True)}
            seen = found.setdefault(detail["name"], ends)
            seen["min"], seen["max"] = np.minimum(seen["min"], ends["min"]), np.maximum(seen["max"], ends["max"])
    return found


def interpreter_of_all(flatbuffer: bytes) -> Interpreter:
    """An interpreter that keeps what every operator computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that this is for debugging, and takes memory
        engine = Interpreter(
            model_content=flatbuffer, num_threads=os.cpu_count() or 1, experimental_preserve_all_tensors=True
        )
    engine.allocate_tensors()
    return engine
