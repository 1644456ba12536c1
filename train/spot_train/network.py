"""The network: a backbone, one 1x1 evidence convolution, and the pooled features. Stock Keras layers only.

`build_body` maps `image` (uint8) to `evidence` (class activation maps) and `embedding` (pooled features); the mean of
the evidence over its positions is the logits. Pixel scaling is the first layer, so nobody outside can get it wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from spot_edge.errors import DataError
from spot_train.recipe import Network

__all__ = [
    "BACKBONES",
    "Backbone",
    "build_body",
    "check_trunk",
    "freeze_batch_norm",
    "freeze_first",
    "load_trunk",
    "trunk_layers",
]


@dataclass(frozen=True, slots=True)
class Backbone:
    """How to build a headless network, and the pixel range it wants: x * scale + offset."""

    build: Callable[..., Any]
    scale: float
    offset: float


BACKBONES = {
    "mobilenet_v2": Backbone(
        lambda width, **where: keras.applications.MobileNetV2(include_top=False, alpha=width, **where),
        1 / 127.5,
        -1.0,
    ),
}


def build_body(network: Network, classes: int, *, any_size: bool = False) -> Any:
    """The network from `image` to `evidence` and `embedding`, untrained, for images of its size or of any."""
    backbone = _backbone(network)
    side = None if any_size else network.size
    image = keras.Input((side, side, 3), dtype="uint8", name="image")
    scaled = keras.layers.Rescaling(backbone.scale, backbone.offset, name="scale")(image)
    features = backbone.build(network.width, weights=None, input_tensor=scaled).output
    dropped = keras.layers.Dropout(network.dropout, name="dropout")(features)
    # float32 also under mixed precision: the logits are a mean of these
    evidence = keras.layers.Conv2D(classes, 1, name="evidence", dtype="float32")(dropped)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
    return keras.Model(image, {"evidence": evidence, "embedding": embedding}, name=network.backbone)


def check_trunk(network: Network, trunk: str) -> None:
    """Refuse an unknown backbone, or a trunk that is not there, before any picture is decoded."""
    _backbone(network)
    if trunk not in ("imagenet", "none") and not Path(trunk).is_file():
        raise DataError(f"{trunk}: no such trunk: name a .weights.h5 or .keras file, 'imagenet' or 'none'")


def load_trunk(body: Any, network: Network, trunk: str) -> None:
    """Pretrained weights into the body's backbone.

    `trunk` is "imagenet" (Keras' own weights, which Keras downloads), "none" (a random start), a `.weights.h5` file of
    the backbone, or the `model.keras` of an earlier run.
    """
    if trunk == "none":
        return
    source = _trunk_source(network, trunk)
    for layer in source.layers:
        if layer.weights and layer.name != "evidence":
            try:
                body.get_layer(layer.name).set_weights(layer.get_weights())
            except ValueError as error:  # no such layer, or weights of another shape
                raise _misfit(trunk, network, error) from error


def _trunk_source(network: Network, trunk: str) -> Any:
    """A network whose layers hold the trunk's weights."""
    backbone = _backbone(network)
    if trunk == "imagenet":
        try:
            return backbone.build(network.width, weights="imagenet", input_shape=(network.size, network.size, 3))
        except Exception as error:  # the download helper raises bare Exception without a network
            raise DataError("the ImageNet weights cannot be downloaded here: name a file with --trunk") from error
    check_trunk(network, trunk)
    try:
        if trunk.endswith(".keras"):
            return keras.saving.load_model(trunk, compile=False)
        source = backbone.build(network.width, weights=None, input_shape=(network.size, network.size, 3))
        source.load_weights(trunk)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise _misfit(trunk, network, error) from error
    return source


def _misfit(trunk: str, network: Network, error: Exception) -> DataError:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return DataError(f"{trunk}: not weights of {network.backbone} at width {network.width:g}: {reason}")


def trunk_layers(body: Any) -> list[Any]:
    """The layers with weights below the evidence convolution."""
    return [layer for layer in body.layers if layer.weights and layer.name != "evidence"]


def freeze_batch_norm(body: Any) -> None:
    """Keep every batch norm in inference mode. Only `trainable = False` on the layers themselves does that in `fit`."""
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def freeze_first(body: Any, number: int) -> None:
    """Keep the first `number` layers of the backbone as they are, counted as Keras counts them: its input is one."""
    for layer in body.layers[1 : 1 + number]:
        layer.trainable = False


def _backbone(network: Network) -> Backbone:
    if network.backbone not in BACKBONES:
        raise DataError(f"unknown backbone {network.backbone!r}: known are {', '.join(BACKBONES)}")
    return BACKBONES[network.backbone]
