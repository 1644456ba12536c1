"""Calibrate: measure the range of every tensor, and correct biases for the rounding of the weights.

Ranges: int8 and int16 cover the smallest to the largest value of a tensor over all calibration images. LiteRT
Quantizer's own calibration keeps a moving average instead, which the last twenty images dominate, and clips values
beyond it. With it, int8 changed the logits of the embedded model 1.7 times as much.

Bias correction: a depthwise kernel whose nine weights nearly cancel detects edges. Once rounded it also responds a
little to plain brightness, by the same amount everywhere. The mean input of the layer predicts that constant, and the
bias or the batch norm after the layer can subtract it (Nagel et al., Data-Free Quantization, 2019; here with measured
means).
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

# "min" and "max" of each tensor, in the shape that the quantizer expects
Ranges: TypeAlias = dict[str, dict[str, NDArray[np.float32]]]


def activation_ranges(body: bytes, inputs: Iterable[NDArray[np.float32]]) -> Ranges:
    """Return the smallest and largest value of every tensor that the float32 network `body` computes from `inputs`."""
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
    """Return an interpreter that keeps the output of every operator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "for debugging only, uses more memory"
        engine = Interpreter(
            model_content=flatbuffer, num_threads=os.cpu_count() or 1, experimental_preserve_all_tensors=True
        )
    engine.allocate_tensors()
    return engine


LEVELS = 127  # of int8 on either side of zero


def corrected_body(body: Any, calibration: NDArray[np.uint8]) -> Any:
    """Return a copy of `body` whose channel means stay right once its convolutions are rounded to int8."""
    corrected = keras.models.clone_model(body)
    corrected.set_weights(body.get_weights())
    for layer in corrected.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # Keras uses the new weights only after this call
    convolutions = [
        layer for layer in body.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    means = _mean_inputs(body, convolutions, calibration)
    for layer in convolutions:
        kernel = layer.get_weights()[0]
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        error = _rounding_error(kernel, (0, 1, 3) if depthwise else (0, 1, 2)).sum(axis=(0, 1))
        # `error` is [channels in, 1] for a depthwise kernel, else [channels in, channels out].
        shift = error[:, 0] * means[layer.name] if depthwise else means[layer.name] @ error
        _subtract(corrected, layer.name, shift.astype(np.float32))
    return corrected


def _mean_inputs(body: Any, layers: list[Any], calibration: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Return the mean of each input channel of each of `layers`."""
    pool = keras.layers.GlobalAveragePooling2D()
    probe = keras.Model(body.input, {layer.name: pool(layer.input) for layer in layers})
    sums: dict[str, NDArray[np.float64]] = {}
    for start in range(0, len(calibration), 16):
        for name, means in probe.predict_on_batch(calibration[start : start + 16]).items():
            sums[name] = sums.get(name, 0) + np.asarray(means, np.float64).sum(axis=0)
    return {name: total / len(calibration) for name, total in sums.items()}


def _rounding_error(kernel: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the error of rounding to int8 with one scale per channel."""
    scale = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True) / LEVELS, np.finfo(np.float32).tiny)
    return np.asarray(np.round(kernel / scale) * scale - kernel, np.float32)


def _subtract(body: Any, name: str, shift: NDArray[np.float32]) -> None:
    """Subtract `shift` from the output of the convolution `name`, in its bias or in the batch norm after it."""
    layer = body.get_layer(name)
    if layer.use_bias:
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias - shift])
        return
    following = [node.operation for node in layer._outbound_nodes]
    if len(following) == 1 and isinstance(following[0], keras.layers.BatchNormalization):
        following[0].moving_mean.assign(following[0].moving_mean + shift)
