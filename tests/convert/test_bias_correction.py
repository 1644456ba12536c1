"""Bias correction brings the int8 network closer to the float network, especially in the mean."""

from __future__ import annotations

import keras
import numpy as np

from spot_bench.data.drawn import draw_lesion
from spot_convert.quantize.ranges import LEVELS, corrected_body
from spot_edge.image.tensor import to_tensor
from spot_edge.model.spec import ImageSpec


def network() -> keras.Model:
    """Edge detectors whose large weights cancel, after a bright input, as in the first layers of MobileNetV2."""
    keras.utils.set_random_seed(3)
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(x)
    x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(name="first_BN")(x))
    x = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="edges")(x)
    x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(name="edges_BN")(x))
    body = keras.Model(image, keras.layers.Conv2D(3, 1, name="evidence")(x))
    kernel = body.get_layer("edges").get_weights()[0]
    body.get_layer("edges").set_weights([kernel - kernel.mean(axis=(0, 1), keepdims=True)])
    gamma, beta, mean, _ = body.get_layer("edges_BN").get_weights()
    body.get_layer("edges_BN").set_weights([gamma, beta + 2, mean, np.full_like(mean, 1e-5)])
    return body


def rounded(body: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(body)
    copy.set_weights(body.get_weights())
    for name, axes in (("first", (0, 1, 2)), ("edges", (0, 1, 3)), ("evidence", (0, 1, 2))):
        kernel, *rest = copy.get_layer(name).get_weights()
        scale = np.abs(kernel).max(axis=axes, keepdims=True) / LEVELS
        copy.get_layer(name).set_weights([np.round(kernel / scale) * scale, *rest])
    return copy


def test_rounding_changes_the_corrected_network_less() -> None:
    body = network()
    images = np.concatenate([to_tensor(draw_lesion(seed, 64, 48), ImageSpec(32))[0] for seed in range(24)])
    expected = body.predict_on_batch(images)
    plain = rounded(body).predict_on_batch(images) - expected
    corrected = rounded(corrected_body(body, images)).predict_on_batch(images) - expected
    assert np.abs(corrected.mean(axis=(0, 1, 2))).max() < np.abs(plain.mean(axis=(0, 1, 2))).max() / 2
    assert np.abs(corrected).mean() < np.abs(plain).mean()


def test_the_original_network_stays_unchanged() -> None:
    body = network()
    before = [array.copy() for array in body.get_weights()]
    corrected_body(body, np.concatenate([to_tensor(draw_lesion(seed, 64, 48), ImageSpec(32))[0] for seed in range(4)]))
    for array, kept in zip(body.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)
