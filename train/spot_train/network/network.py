"""The network: a backbone, a 1x1 evidence convolution and the pooled features. It has stock Keras layers only.

`build_body` maps `image` (uint8) to `evidence` (class activation maps) and `embedding` (pooled features). The mean of
the evidence over all positions is the logits. The first layers scale the pixels, so that callers cannot get it wrong.
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
from spot_train.network.backbones import Backbone, backbone_problems, find_backbone
from spot_train.network.efficientnet_lite import SIZES, efficientnet_lite
from spot_train.recipes.recipe import Network

__all__ = [
    "backbone_layers",
    "build_body",
    "check_pretrained",
    "freeze_batch_norm",
    "freeze_first",
    "load_pretrained",
]

# x * scale + offset; then the mean and deviation of each channel, if the pretrained weights expect that
_SCALES = {
    "signed": (1 / 127.5, -1.0),
    "lite": (1 / 128, -127 / 128),
    "standard": (1 / 255, 0.0),
    "centred": (1.0, 0.0),
    "raw": (1.0, 0.0),
}
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
_STANDARDS = {
    "standard": ((0.485, 0.456, 0.406), _IMAGENET_DEVIATION),
    "centred": ((123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
}
_PREPROCESSING = ("scale", "standardize")  # the names of these layers
_DOWNLOADED_SIDES = (96, 128, 160, 192, 224)  # Keras has MobileNet weights for each of these


def build_body(network: Network, classes: int, *, any_size: bool = False) -> Any:
    """Build the untrained network from `image` to `evidence` and `embedding`, for images of its size or of any size."""
    _check_network(network)
    backbone = find_backbone(network.backbone)
    side = None if any_size else network.size

    def build() -> Any:
        image = keras.Input((side, side, 3), dtype="uint8", name="image")
        features = _features(backbone, network, _preprocessed(backbone, image))
        dropped = keras.layers.Dropout(network.dropout, name="dropout")(features)
        # float32 even with mixed precision, because the logits are its mean
        evidence = keras.layers.Conv2D(classes, 1, name="evidence", dtype="float32")(dropped)
        embedding = keras.layers.GlobalAveragePooling2D(name="embedding", dtype="float32")(features)
        body = keras.Model(image, {"evidence": evidence, "embedding": embedding}, name=network.backbone)
        _set_standards(body)
        return body

    return _with_fresh_names(build)


def check_pretrained(network: Network, weights: str) -> None:
    """Check that the backbone can be built and the pretrained weights fit it; DataError if not. Decodes no image."""
    _check_network(network)
    if weights != "none":
        _check_file(weights)
        load_pretrained(build_body(network, 1, any_size=True), network, weights)


def load_pretrained(body: Any, network: Network, weights: str) -> None:
    """Load pretrained weights into the body's backbone.

    `weights` is "imagenet" (Keras downloads them), "none" (a random start), a `.weights.h5` or `.h5` file of the
    backbone without top, or the `model.keras` of an earlier run.
    """
    if weights == "none":
        return
    backbone = find_backbone(network.backbone)
    backbone_model = keras.Model(body.input, body.get_layer("embedding").input)
    if weights == "imagenet":
        backbone_model.set_weights(_downloaded(backbone, network).get_weights())
        from_run = False
    else:
        _check_file(weights)
        try:
            from_run = _load_file(backbone_model, Path(weights))
        except Exception as error:  # h5py and Keras raise unrelated exceptions for an invalid file
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(
                f"{weights}: not weights of {network.backbone} at width {network.width:g}: {reason}"
            ) from error
    if not from_run:
        _convert_keras_weights(body, backbone)


def _load_file(backbone_model: Any, path: Path) -> bool:
    """Load the weights in `path` into a body without its head. Return whether they come from an earlier run."""
    if path.suffix != ".keras":
        backbone_model.load_weights(path)
        return False
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        # Load the weights only, not the model: this runs no code of the file, and its classes may differ.
        backbone_model.load_weights(archive.extract("model.weights.h5", folder))
        return b'"evidence"' in archive.read("config.json")


def _downloaded(backbone: Backbone, network: Network) -> Any:
    if not backbone.keras_weights:
        raise DataError(f"Keras has no ImageNet weights of {network.backbone}. Name a file with --weights, or 'none'")
    side = network.size if network.size in _DOWNLOADED_SIDES else 224
    try:
        return _without_top(backbone, network, weights="imagenet", input_shape=(side, side, 3))
    except ValueError as error:
        raise DataError(f"Keras has no ImageNet weights of {network.backbone} at width {network.width:g}") from error
    except Exception as error:  # the download helper raises bare Exception without a network
        raise DataError("cannot download the ImageNet weights. Name a file with --weights") from error


def _convert_keras_weights(body: Any, backbone: Backbone) -> None:
    """Convert weights of `keras.applications` to RGB and to the preprocessing of `build_body`."""
    if backbone.pixels == "centred":  # trained on BGR
        first = next(layer for layer in body.layers if isinstance(layer, keras.layers.Conv2D))
        kernel, *bias = first.get_weights()
        first.set_weights([kernel[:, :, ::-1], *bias])
    _set_standards(body)


def _set_standards(body: Any) -> None:
    """Set ImageNet's mean and variance in a backbone (EfficientNet) that stores them as weights.

    The published files hold the deviation in place of the variance. Keras compensates with an extra layer, but only if
    it downloaded the file itself. The layer uses new weights only after `finalize_state`.
    """
    mean, deviation = _STANDARDS["standard"]
    for layer in body.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.array(mean), np.square(deviation), np.array(0)])
            layer.finalize_state()


def backbone_layers(body: Any) -> list[Any]:
    """Return the layers with weights before the evidence convolution."""
    return [layer for layer in body.layers if layer.weights and layer.name != "evidence"]


def freeze_batch_norm(body: Any) -> None:
    """Keep every batch norm in inference mode. In `fit`, only `trainable = False` on the layers does that."""
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def freeze_first(body: Any, number: int) -> None:
    """Freeze the first `number` layers of the backbone, counted like Keras does: the input is one of them."""
    layers = [layer for layer in body.layers[1:] if layer.name not in _PREPROCESSING]
    for layer in layers[: max(0, number - 1)]:
        layer.trainable = False


def _features(backbone: Backbone, network: Network, pixels: Any) -> Any:
    """Return the backbone's last feature map for the preprocessed tensor `pixels`."""
    if backbone.keras_name in SIZES:
        return efficientnet_lite(backbone.keras_name, pixels)
    return _without_top(backbone, network, weights=None, input_tensor=pixels).output


def _without_top(backbone: Backbone, network: Network, **where: Any) -> Any:
    if backbone.widths:
        where["alpha"] = network.width
    if backbone.preprocesses:
        where["include_preprocessing"] = False
    return getattr(keras.applications, backbone.keras_name)(include_top=False, **where)


def _preprocessed(backbone: Backbone, image: Any) -> Any:
    """Preprocess `image` for the backbone."""
    scaled = keras.layers.Rescaling(*_SCALES[backbone.pixels], name=_PREPROCESSING[0])(image)
    if backbone.pixels not in _STANDARDS:
        return scaled
    mean, deviation = _STANDARDS[backbone.pixels]
    variance = [value**2 for value in deviation]
    return keras.layers.Normalization(mean=list(mean), variance=variance, name=_PREPROCESSING[1])(scaled)


def _with_fresh_names(build: Callable[[], Any]) -> Any:
    """Call `build` with layer names as in a new process, so that a recipe always gives the same names.

    Keras numbers unnamed layers, with a separate count for each thread.
    """
    policy = keras.config.dtype_policy()

    def with_policy() -> Any:
        keras.config.set_dtype_policy(policy)
        return build()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(with_policy).result()


def _check_network(network: Network) -> None:
    for problem in backbone_problems(network.backbone, network.width, network.size):
        raise DataError(problem)


def _check_file(weights: str) -> None:
    if weights != "imagenet" and not (Path(weights).is_file() and weights.endswith((".h5", ".keras"))):
        raise DataError(f"{weights}: no such weights file. Name a .weights.h5 or .keras file, 'imagenet' or 'none'")
