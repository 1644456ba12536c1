"""Train a network with frozen batch norm faster, by folding each frozen batch norm into the convolution before it.

A frozen batch norm only scales and shifts, but costs several passes over a large tensor in every training step. Folded,
it scales the small kernel instead. Outputs and gradients stay the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

__all__ = ["fold_frozen"]


def fold_frozen(body: Any) -> Any:
    """Return a network with the layers and variables of `body`, in which frozen batch norms are folded.

    `body` itself stays as it is, and training the result trains it. The body of a mixed precision is returned
    unchanged: its kernels must not be scaled in half precision.
    """
    followers = _followers(body) if body.compute_dtype == body.variable_dtype else {}
    if not followers:
        return body
    folded = {norm.name for norm in followers.values()}

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        if layer.name in followers:
            return _Folded(layer, followers[layer.name])(*inputs)
        return inputs[0] if layer.name in folded else layer(*inputs, **options)

    return keras.models.clone_model(body, clone_function=lambda layer: layer, call_function=call)


class _Folded(keras.layers.Layer):  # type: ignore[misc]
    """A convolution and the frozen batch norm after it, with the variables of both layers."""

    def __init__(self, convolution: Any, norm: Any) -> None:
        super().__init__(name=f"{convolution.name}_folded", dtype=convolution.dtype_policy)
        self.convolution, self.norm = convolution, norm
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.convolution.compute_output_shape(input_shape)

    def call(self, inputs: Any) -> Any:
        ops, layer, norm = keras.ops, self.convolution, self.norm
        scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
        if norm.scale:
            scale = scale * norm.gamma
        shift = ((layer.bias if layer.use_bias else 0.0) - norm.moving_mean) * scale
        if norm.center:
            shift = shift + norm.beta
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            kernel = layer.kernel * ops.reshape(scale, layer.kernel.shape[-2:])
            options = {"dilation_rate": layer.dilation_rate, "data_format": layer.data_format}
            return ops.depthwise_conv(inputs, kernel, layer.strides, layer.padding, **options) + shift
        return layer.convolution_op(inputs, layer.kernel * scale) + shift


def _followers(body: Any) -> dict[str, Any]:
    """Return the frozen batch norm that follows each convolution and is the only layer that does, by name."""
    consumers: dict[str, list[str]] = {}
    config = body.get_config()
    for layer in config["layers"]:
        for source in set(_sources(layer["inbound_nodes"])):
            consumers.setdefault(source, []).append(layer["name"])
    for source in set(_sources(config["output_layers"])):
        consumers.setdefault(source, []).append("")
    found = {}
    for layer in body.layers:
        norm = next((body.get_layer(name) for name in consumers.get(layer.name, ()) if name), None)
        if len(consumers.get(layer.name, ())) == 1 and _is_foldable(layer) and _is_frozen_norm(norm):
            found[layer.name] = norm
    return found


def _is_foldable(layer: Any) -> bool:
    return (
        isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
        and layer.activation is keras.activations.linear
        and layer.data_format == "channels_last"
    )


def _is_frozen_norm(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable and layer.axis in (-1, 3)


def _sources(nodes: Any) -> Iterator[str]:
    """Yield the names of the layers whose outputs a serialized layer takes, at any depth of `nodes`."""
    if isinstance(nodes, dict):
        if "keras_history" in nodes:
            yield nodes["keras_history"][0]
        else:
            for value in nodes.values():
                yield from _sources(value)
    elif isinstance(nodes, (list, tuple)):
        if len(nodes) == 3 and isinstance(nodes[0], str) and nodes[1:] == [0, 0]:
            yield nodes[0]
        else:
            for value in nodes:
                yield from _sources(value)
