"""Folding frozen batch norms for training changes neither outputs nor gradients."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from spot_train.network.folding import fold_frozen
from spot_train.network.network import build_body, freeze_batch_norm
from spot_train.recipes.recipe import Network

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)


def random_body(network: Network) -> Any:
    """A body whose weights and statistics are all random, with frozen batch norm."""
    body = build_body(network, 3, any_size=True)
    random = np.random.default_rng(1)
    body.set_weights(
        [weight + random.uniform(0.01, 0.1, weight.shape).astype(weight.dtype) for weight in body.get_weights()]
    )
    freeze_batch_norm(body)
    return body


def gradients(model: Any, variables: list[Any]) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(IMAGES, training=False)["evidence"] ** 2)
    return [np.asarray(each) for each in tape.gradient(loss, [variable.value for variable in variables])]


@pytest.mark.parametrize(("backbone", "width"), [("mobilenet_v2", 0.35), ("efficientnet_lite0", 1.0)])
def test_outputs_and_gradients_stay_the_same(backbone: str, width: float) -> None:
    body = random_body(Network(backbone, width, 64, dropout=0.0))
    expected = gradients(body, body.trainable_variables)
    for _ in range(2):  # a body is folded again for every size of crops
        folded = fold_frozen(body)
        kinds = {type(layer).__name__ for layer in folded.layers}
        assert "_Folded" in kinds
        assert "BatchNormalization" not in kinds
        for ours, theirs in zip(folded.trainable_variables, body.trainable_variables, strict=True):
            assert ours is theirs
        for output in ("evidence", "embedding"):
            np.testing.assert_allclose(folded(IMAGES)[output], body(IMAGES)[output], rtol=2e-3, atol=1e-6)
        for found, wanted in zip(gradients(folded, folded.trainable_variables), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3 * np.abs(wanted).max())


def branching(activation: str | None = None, *, second: bool = False, bias: bool = False) -> Any:
    """A convolution with bias and a frozen batch norm, and possibly a second layer that uses the convolution."""
    image = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, strides=2, activation=activation, use_bias=bias, name="conv")(image)
    norm = keras.layers.BatchNormalization(name="norm", scale=not bias, center=not bias)
    normal = norm(features)
    output = keras.layers.Add()([features, normal]) if second else normal
    model = keras.Model(image, {"evidence": output})
    random = np.random.default_rng(2)
    model.set_weights([random.uniform(0.5, 1, weight.shape) for weight in model.get_weights()])
    norm.trainable = False
    return model


def test_a_bias_and_a_norm_without_scale_are_folded() -> None:
    body = branching(bias=True)
    folded = fold_frozen(body)
    image = np.random.default_rng(3).random((1, 8, 8, 3), np.float32)
    assert folded is not body
    np.testing.assert_allclose(folded(image)["evidence"], body(image)["evidence"], rtol=1e-4)


@pytest.mark.parametrize("options", [{"activation": "relu"}, {"second": True}])
def test_what_a_norm_does_not_follow_directly_is_left_alone(options: dict[str, Any]) -> None:
    body = branching(**options)
    assert fold_frozen(body) is body


def test_batch_norm_that_learns_is_left_alone() -> None:
    body = branching()
    body.get_layer("norm").trainable = True
    assert fold_frozen(body) is body


def test_mixed_precision_is_left_alone() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        body = branching()
    finally:
        keras.config.set_dtype_policy(policy)
    assert fold_frozen(body) is body
