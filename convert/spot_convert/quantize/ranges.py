"""Between what values every layer's output lies, over all pictures that are shown: what int8 and int16 are laid over.

LiteRT Quantizer's own calibration keeps a moving average, in which the last twenty pictures outweigh all others, and
cuts off what lies beyond it: with it int8 moved the embedded model's logits 1.7 times as far.


Bias correction: what rounding the weights to int8 adds to each channel's mean is taken off before it happens.

A depthwise kernel of nine weights that nearly cancel answers to edges; rounded, it also answers a little to plain
brightness, in the same direction everywhere. Such a constant can be foreseen from the mean input of the layer, and
the batch norm behind it can take it off. (Nagel et al., Data-Free Quantization, 2019, with measured means.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import Any, TypeAlias

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from spot_convert.modelfile.graph import Graph, unpack

__all__ = ["Ranges", "activation_ranges", "corrected_body", "interpreter_of_all"]

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


LEVELS = 127  # of int8 on either side of zero


def corrected_body(body: Any, calibration: NDArray[np.uint8]) -> Any:
    """A copy of `body` that is right in the mean once its convolutions are rounded to int8, channel by channel."""
    corrected = keras.models.clone_model(body)
    corrected.set_weights(body.get_weights())
    for layer in corrected.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it heeds new weights only then
    convolutions = [
        layer for layer in body.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    means = _mean_inputs(body, convolutions, calibration)
    for layer in convolutions:
        kernel = layer.get_weights()[0]
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        error = _rounding_error(kernel, (0, 1, 3) if depthwise else (0, 1, 2)).sum(axis=(0, 1))
        # [channels in, 1] of a depthwise kernel, [in, out] of another
        shift = error[:, 0] * means[layer.name] if depthwise else means[layer.name] @ error
        _take_off(corrected, layer.name, shift.astype(np.float32))
    return corrected


def _mean_inputs(body: Any, layers: list[Any], calibration: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """The mean of each channel that enters each of `layers`."""
    pool = keras.layers.GlobalAveragePooling2D()
    probe = keras.Model(body.input, {layer.name: pool(layer.input) for layer in layers})
    sums: dict[str, NDArray[np.float64]] = {}
    for start in range(0, len(calibration), 16):
        for name, means in probe.predict_on_batch(calibration[start : start + 16]).items():
            sums[name] = sums.get(name, 0) + np.asarray(means, np.float64).sum(axis=0)
    return {name: total / len(calibration) for name, total in sums.items()}


def _rounding_error(kernel: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    """What int8 weights with one scale a channel differ by."""
    scale = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True) / LEVELS, np.finfo(np.float32).tiny)
    return np.asarray(np.round(kernel / scale) * scale - kernel, np.float32)


def _take_off(body: Any, name: str, shift: NDArray[np.float32]) -> None:
    """`shift` off the output of the convolution called `name`: in its bias, or in the batch norm behind it."""
    layer = body.get_layer(name)
    if layer.use_bias:
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias - shift])
        return
    behind = [node.operation for node in layer._outbound_nodes]
    if len(behind) == 1 and isinstance(behind[0], keras.layers.BatchNormalization):
        behind[0].moving_mean.assign(behind[0].moving_mean + shift)
