"""The network: a backbone, one 1x1 evidence convolution, and the pooled features. Stock Keras layers only.

`build_body` maps `image` (uint8) to `evidence` (class activation maps) and `embedding` (pooled features); the mean of
the evidence over its positions is the logits. Pixel scaling is in the first layers, so nobody outside can get it wrong.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np

from spot_edge.errors import DataError
from spot_train.network.backbones import Backbone, find_backbone, misfits
from spot_train.recipes.recipe import Network

__all__ = [
    "backbone_layers",
    "build_body",
    "check_pretrained",
    "freeze_batch_norm",
    "freeze_first",
    "load_pretrained",
]

# x * scale + offset, then the mean and deviation of each channel where the network's weights were made with those
_SCALES = {"signed": (1 / 127.5, -1.0), "standard": (1 / 255, 0.0), "centred": (1.0, 0.0), "raw": (1.0, 0.0)}
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_STANDARDS = {
    "standard": ((0.485, 0.456, 0.406), _IMAGENET_DEVIATION),
    "centred": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
}
_PREPARING = ("scale", "standardize")  # the names of these layers
_DOWNLOADED_SIDES = (96, 128, 160, 192, 224)  # for which Keras has a MobileNet's weights each


def build_body(network: Network, classes: int, *, any_size: bool = False) -> Any:
    """The network from `image` to `evidence` and `embedding`, untrained, for images of its size or of any."""
    _check_network(network)
    backbone = find_backbone(network.backbone)
    side = None if any_size else network.size

    def build() -> Any:
        image = keras.Input((side, side, 3), dtype="uint8", name="image")
        features = _headless(backbone, network, weights=None, input_tensor=_prepared(backbone, image)).output
        dropped = keras.layers.Dropout(network.dropout, name="dropout")(features)
        # float32 also under mixed precision: the logits are a mean of these
        evidence = keras.layers.Conv2D(classes, 1, name="evidence", dtype="float32")(dropped)
        embedding = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
        body = keras.Model(image, {"evidence": evidence, "embedding": embedding}, name=network.backbone)
        _set_standards(body)
        return body

    return _freshly_named(build)


def check_pretrained(network: Network, weights: str) -> None:
    """DataError for a backbone that cannot be, or weights that do not fit it, before any image is decoded."""
    _check_network(network)
    if weights != "none":
        _check_file(weights)
        load_pretrained(build_body(network, 1, any_size=True), network, weights)


def load_pretrained(body: Any, network: Network, weights: str) -> None:
    """Pretrained weights into the body's backbone.

    `weights` is "imagenet" (Keras' own weights, which Keras downloads), "none" (a random start), a `.weights.h5` or
    `.h5` file of the backbone without top, or the `model.keras` of an earlier run.
    """
    if weights == "none":
        return
    backbone = find_backbone(network.backbone)
    headless = keras.Model(body.input, body.get_layer("embedding").input)
    if weights == "imagenet":
        headless.set_weights(_downloaded(backbone, network).get_weights())
        ours = False
    else:
        _check_file(weights)
        try:
            ours = _load_file(headless, Path(weights))
        except Exception as error:  # what h5py and Keras raise at a file that is none has no common root
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{weights}: not weights of {network.backbone} at width {network.width:g}: {reason}"
            ) from error
    if not ours:
        _adopt(body, backbone)


def _load_file(headless: Any, path: Path) -> bool:
    """The weights in `path` into a body without its head; whether they are a body's of ours."""
    if path.suffix != ".keras":
        headless.load_weights(path)
        return False
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        # Weights alone, not load_model: nothing in the file is run, and its classes may be others.
        headless.load_weights(archive.extract("model.weights.h5", folder))
        return b'"evidence"' in archive.read("config.json")


def _downloaded(backbone: Backbone, network: Network) -> Any:
    side = network.size if network.size in _DOWNLOADED_SIDES else 224
    try:
        return _headless(backbone, network, weights="imagenet", input_shape=(side, side, 3))
    except ValueError as error:
        raise DataError(f"Keras has no ImageNet weights of {network.backbone} at width {network.width:g}") from error
    except Exception as error:  # the download helper raises bare Exception without a network
        raise DataError("the ImageNet weights cannot be downloaded here: name a file with --weights") from error


def _adopt(body: Any, backbone: Backbone) -> None:
    """Weights as `keras.applications` has them become ours: for RGB, and for pixels prepared as in `build_body`."""
    if backbone.pixels == "centred":  # they were learned on BGR
        first = next(layer for layer in body.layers if isinstance(layer, keras.layers.Conv2D))
        kernel, *bias = first.get_weights()
        first.set_weights([kernel[:, :, ::-1], *bias])
    _set_standards(body)


def _set_standards(body: Any) -> None:
    """ImageNet's mean and variance where a backbone (EfficientNet) keeps them as weights, in every body alike.

    Its files hold the deviation where the variance belongs, which Keras makes up for by one more layer, but only where
    it has downloaded the file itself. And the layer heeds new weights only when told to.
    """
    mean, deviation = _STANDARDS["standard"]
    for layer in body.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.array(mean), np.square(deviation), np.array(0)])
            layer.finalize_state()


def backbone_layers(body: Any) -> list[Any]:
    """The layers with weights below the evidence convolution."""
    return [layer for layer in body.layers if layer.weights and layer.name != "evidence"]


def freeze_batch_norm(body: Any) -> None:
    """Keep every batch norm in inference mode. Only `trainable = False` on the layers themselves does that in `fit`."""
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def freeze_first(body: Any, number: int) -> None:
    """Keep the first `number` layers of the backbone as they are, counted as Keras counts them: its input is one."""
    layers = [layer for layer in body.layers[1:] if layer.name not in _PREPARING]
    for layer in layers[: max(0, number - 1)]:
        layer.trainable = False


def _headless(backbone: Backbone, network: Network, **where: Any) -> Any:
    if backbone.widths:
        where["alpha"] = network.width
    if backbone.preprocesses:
        where["include_preprocessing"] = False
    return getattr(keras.applications, backbone.keras_name)(include_top=False, **where)


def _prepared(backbone: Backbone, image: Any) -> Any:
    """`image` as the backbone wants it."""
    scaled = keras.layers.Rescaling(*_SCALES[backbone.pixels], name=_PREPARING[0])(image)
    if backbone.pixels not in _STANDARDS:
        return scaled
    mean, deviation = _STANDARDS[backbone.pixels]
    variance = [value**2 for value in deviation]
    return keras.layers.Normalization(mean=list(mean), variance=variance, name=_PREPARING[1])(scaled)


def _freshly_named(build: Callable[[], Any]) -> Any:
    """What `build` makes, its layers named as in a new process, so that the same recipe always gives the same names.

    Keras numbers layers that have no name of their own, and counts on in each thread by itself.
    """
    policy = keras.config.dtype_policy()

    def with_policy() -> Any:
        keras.config.set_dtype_policy(policy)
        return build()

    with ThreadPoolExecutor(1) as fresh:
        return fresh.submit(with_policy).result()


def _check_network(network: Network) -> None:
    for misfit in misfits(network.backbone, network.width, network.size):
        raise DataError(misfit)


def _check_file(weights: str) -> None:
    if weights != "imagenet" and not (Path(weights).is_file() and weights.endswith((".h5", ".keras"))):
        raise DataError(f"{weights}: no such file of weights: name a .weights.h5 or .keras file, 'imagenet' or 'none'")
