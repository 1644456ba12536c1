"""The loss over sets of classes: the summed probability of a set, and single classes as crossentropy."""

from __future__ import annotations

import keras
import numpy as np

from spot_train.loop.losses import SetCrossentropy, set_accuracy

SETS = ((1, 2, 3), (0, 3))


def reference(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The loss in double precision: minus the logarithm of each column's summed probability."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    columns = np.concatenate([shares, *(shares[:, list(s)].sum(axis=1, keepdims=True) for s in SETS)], axis=1)
    return -np.sum(targets * np.log(columns), axis=1)


def random_case(rows: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(0, 3, (rows, 4)), np.eye(6)[np.arange(rows) % 6]


def loss(targets: np.ndarray, logits: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    return np.asarray(SetCrossentropy(SETS, 4, smoothing).call(targets, logits))


def test_the_loss_of_a_set_is_minus_the_logarithm_of_its_summed_probability() -> None:
    logits, targets = random_case()
    np.testing.assert_allclose(loss(targets, logits), reference(logits, targets), rtol=1e-5)


def test_the_loss_of_single_classes_is_crossentropy() -> None:
    logits, targets = random_case()
    for smoothing in (0.0, 0.1):
        theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
        ours = loss(targets[:4], logits[:4], smoothing)
        np.testing.assert_allclose(ours, np.asarray(theirs(targets[:4, :4], logits[:4])), rtol=1e-5)


def test_the_loss_is_linear_in_mixed_sets() -> None:
    logits, _ = random_case(1)
    one, other = np.eye(6)[[4]], np.eye(6)[[5]]
    mixed = loss(0.3 * one + 0.7 * other, logits)
    np.testing.assert_allclose(mixed, 0.3 * loss(one, logits) + 0.7 * loss(other, logits), rtol=1e-5)


def test_the_loss_and_its_gradient_are_finite_for_extreme_logits() -> None:
    import tensorflow as tf

    logits = tf.constant([[1000.0, -1000.0, -1000.0, -1000.0], [-500.0, 500.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = SetCrossentropy(SETS, 4).call(np.eye(6)[[4, 5]], logits)
    np.testing.assert_allclose(value, [2000 - np.log(3), 500 - np.log1p(np.exp(-500))], rtol=1e-5)
    gradient = np.asarray(tape.gradient(value, logits))
    np.testing.assert_allclose(gradient[0], [1, -1 / 3, -1 / 3, -1 / 3], atol=1e-6)
    assert np.isfinite(gradient).all()


def test_a_top_class_inside_the_set_counts_as_correct() -> None:
    correct = set_accuracy(SETS, 4)(np.eye(6)[[0, 4, 4, 5]], np.eye(4)[[0, 2, 0, 3]])
    assert np.asarray(correct).tolist() == [1, 1, 0, 1]
