"""Describe a Keras network as plain data, so that an older Keras in another environment can rebuild it.

Each batch norm is folded into the convolution before it. Only layers that both versions of Keras define alike are
supported.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import DataError

__all__ = ["Folded", "fold"]

_SETTINGS = {
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "dilation_rate", "groups"),
    "DepthwiseConv2D": ("kernel_size", "strides", "padding", "dilation_rate"),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "ZeroPadding2D": ("padding",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "GlobalAveragePooling2D": (),
    "Add": (),
}
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D")
# The smallest allowed peak weight of a channel, relative to its bias. int8 counts the bias in steps of that peak.
_MIN_WEIGHT = 1e-4


class Folded(NamedTuple):
    """The layers in execution order, and their weights by the names `LAYER/kernel` and `LAYER/bias`."""

    layers: list[dict[str, Any]]  # name, kind, settings, and the names of the inputs; "" is the scaled image
    outputs: dict[str, str]  # the names of the layers that compute evidence and embedding
    weights: dict[str, NDArray[np.float32]]


def fold(body: Any) -> Folded:
    """Fold the network `body` of a run. Raise DataError for a layer that is not supported."""
    given: dict[str, list[str]] = {}
    for layer in body.layers[2:]:
        # The first node belongs to the body itself. Calls on other inputs append more.
        given[layer.name] = [tensor._keras_history.operation.name for tensor in layer._inbound_nodes[0].input_tensors]
    readers = Counter(name for names in given.values() for name in names)
    places = {body.layers[1].name: ""}  # the folded layer that computes the output of each Keras layer
    layers: dict[str, dict[str, Any]] = {}
    weights: dict[str, NDArray[np.float32]] = {}
    for layer in body.layers[2:]:
        kind, inputs = type(layer).__name__, [places[name] for name in given[layer.name]]
        places[layer.name] = layer.name
        if kind == "Dropout":
            places[layer.name] = inputs[0]
        elif kind == "BatchNormalization":
            before = layers.get(inputs[0], {"kind": ""})
            if before["kind"] not in _CONVOLUTIONS or readers[given[layer.name][0]] != 1:
                raise _unsupported(layer, "does not follow a convolution of its own")
            _fold_norm(layer, inputs[0], before["kind"], weights)
            places[layer.name] = inputs[0]
        elif kind not in _SETTINGS:
            raise _unsupported(layer, "is of an unsupported kind")
        else:
            settings = layer.get_config()
            if settings.get("data_format", "channels_last") != "channels_last" or settings.get("keepdims"):
                raise _unsupported(layer, "has an unsupported channel order")
            if settings.get("activation", "linear") != "linear" or settings.get("depth_multiplier", 1) != 1:
                raise _unsupported(layer, "has its own activation or depth multiplier")
            kept = {key: settings[key] for key in _SETTINGS[kind]}
            layers[layer.name] = {"name": layer.name, "kind": kind, "settings": kept, "inputs": inputs}
            if kind in _CONVOLUTIONS:
                kernel = np.asarray(layer.kernel, np.float32)
                channels = kernel.shape[2 if kind == "DepthwiseConv2D" else 3]
                weights[f"{layer.name}/kernel"] = kernel
                weights[f"{layer.name}/bias"] = (
                    np.asarray(layer.bias, np.float32) if layer.use_bias else np.zeros(channels, np.float32)
                )
    for name, layer in layers.items():
        if layer["kind"] in _CONVOLUTIONS:
            _raise_dead_channels(weights[f"{name}/kernel"], weights[f"{name}/bias"], layer["kind"])
    outputs = {key: places[tensor._keras_history.operation.name] for key, tensor in body.output.items()}
    return Folded(list(layers.values()), outputs, weights)


def _fold_norm(norm: Any, name: str, kind: str, weights: dict[str, NDArray[np.float32]]) -> None:
    gamma = np.asarray(norm.gamma, np.float64) if norm.scale else 1.0
    beta = np.asarray(norm.beta, np.float64) if norm.center else 0.0
    factor = gamma / np.sqrt(np.asarray(norm.moving_variance, np.float64) + norm.epsilon)
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    shape = (1, 1, -1, 1) if kind == "DepthwiseConv2D" else (1, 1, 1, -1)
    weights[f"{name}/kernel"] = (kernel * np.broadcast_to(factor, bias.shape).reshape(shape)).astype(np.float32)
    weights[f"{name}/bias"] = ((bias - np.asarray(norm.moving_mean, np.float64)) * factor + beta).astype(np.float32)


def _raise_dead_channels(kernel: NDArray[np.float32], bias: NDArray[np.float32], kind: str) -> None:
    """Raise weights that are nearly zero beside their channel's bias: int8 would need too many steps for the bias."""
    channels = np.moveaxis(kernel, 2 if kind == "DepthwiseConv2D" else 3, 0)  # a view
    first = channels[:, 0, 0, 0]
    dead = np.abs(channels).max(axis=(1, 2, 3)) < _MIN_WEIGHT * np.abs(bias)
    first[dead] = _MIN_WEIGHT * np.abs(bias)[dead]


def _unsupported(layer: Any, why: str) -> DataError:
    known = ", ".join((*_SETTINGS, "BatchNormalization", "Dropout"))
    return DataError(
        f"qat-int8: the layer {layer.name} ({type(layer).__name__}) {why}. Leave out this variant, or use only {known}"
    )
