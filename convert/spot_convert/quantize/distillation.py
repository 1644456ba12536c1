"""Fine-tune by distillation: a compressed student learns to reproduce the outputs of the float network, its teacher.

It needs no labels. It is plain TensorFlow, because it runs both under Keras 3 and under the older Keras of the
environment for quantization-aware training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

__all__ = ["BATCH", "Network", "Weight", "distil"]

BATCH, SEED = 32, 0
_REFRESHES = 20  # calls of `refresh` during training
_TEMPERATURE = 2.0  # at which the scores are compared
_MOMENTA, _TINY = (0.9, 0.99), 1e-8  # of Adam
_WARM_UP = 0.05  # share of the steps

Network: TypeAlias = Callable[[Any], Mapping[str, Any]]  # from uint8[N,S,S,3] to evidence and embedding


class Weight(NamedTuple):
    """A variable to train. Steps are relative to the size of the weights in each channel."""

    variable: Any
    channels: int | None  # axis of the output channels; None if the variable has one number per channel
    stored: Callable[[Any], Any] | None = (
        None  # maps free weights to those that the file can store and the network uses
    )


def distil(
    student: Network,
    teacher: Network,
    weights: Sequence[Weight],
    images: NDArray[np.uint8],
    *,
    steps: int,
    rate: float,
    advance: Callable[[int], None],
    refresh: Callable[[float, list[NDArray[np.float32]]], None] | None = None,
) -> None:
    """Train `weights` of `student` for `steps` batches of randomly rotated and mirrored images. Deterministic.

    `refresh` is called some twenty times with the share of the training done, from 0 to 1, and the free weights.
    `advance` is called after every step.
    """
    free = [tf.Variable(weight.variable) if weight.stored else weight.variable for weight in weights]
    sizes = [_sizes(weight) for weight in weights]
    means, squares = ([tf.Variable(tf.zeros_like(one)) for one in free] for _ in range(2))
    variables = [weight.variable for weight in weights]

    def store() -> None:
        for weight, behind in zip(weights, free, strict=True):
            if weight.stored:
                weight.variable.assign(weight.stored(behind))

    def step(batch: Any, rate: Any, number: Any) -> None:
        expected = teacher(batch)
        store()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = _loss(student(batch), expected)
        first, second = _MOMENTA
        for one, size, mean, square, slope in zip(
            free, sizes, means, squares, tape.gradient(loss, variables), strict=True
        ):
            mean.assign(first * mean + (1 - first) * slope)
            square.assign(second * square + (1 - second) * slope**2)
            spread = tf.sqrt(square / (1 - second**number)) + _TINY
            one.assign_sub(rate * size * (mean / (1 - first**number)) / spread)

    traced = tf.function(step, reduce_retracing=True)
    random = np.random.default_rng(SEED)
    for number in range(steps):
        if refresh is not None and number % max(1, steps // _REFRESHES) == 0:
            refresh(number / steps, [one.numpy() for one in free])
        batch = images[np.sort(random.choice(len(images), min(BATCH, len(images)), replace=False))]
        traced(
            tf.constant(_rotated(batch, random)),
            tf.constant(rate * _schedule(number, steps), tf.float32),
            tf.constant(number + 1, tf.float32),
        )
        advance(1)
    if refresh is not None:
        refresh(1.0, [one.numpy() for one in free])
    store()


def _loss(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Any:
    """Return the KL divergence of the scores plus the relative squared errors of evidence and embedding."""
    wanted, given = (tf.reduce_mean(one["evidence"], axis=(1, 2)) / _TEMPERATURE for one in (expected, found))
    divergence = tf.nn.softmax(wanted) * (tf.nn.log_softmax(wanted) - tf.nn.log_softmax(given))
    loss = _TEMPERATURE**2 * tf.reduce_mean(tf.reduce_sum(divergence, axis=-1))
    for key in ("evidence", "embedding"):
        loss += tf.reduce_mean((found[key] - expected[key]) ** 2) / (tf.math.reduce_variance(expected[key]) + _TINY)
    return loss


def _sizes(weight: Weight) -> Any:
    """Return the root mean square of each channel, at least a hundredth of the largest."""
    values = np.asarray(weight.variable, np.float32)
    others = (
        tuple(axis for axis in range(values.ndim) if axis != weight.channels) if weight.channels is not None else None
    )
    size = np.sqrt(np.mean(values**2, axis=others, keepdims=True))
    return tf.constant(np.maximum(size, max(1e-3, 0.01 * float(size.max()))), tf.float32)


def _rotated(batch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Rotate a batch by a random multiple of 90 degrees and mirror it at random."""
    rotated = np.rot90(batch, int(random.integers(4)), (1, 2))
    return np.ascontiguousarray(rotated[:, :, ::-1] if random.integers(2) else rotated)


def _schedule(number: int, steps: int) -> float:
    """Return the share of the learning rate at a step: a short linear warm-up, then a cosine."""
    warm = max(1, round(_WARM_UP * steps))
    if number < warm:
        return (number + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (number - warm) / max(1, steps - warm)))
