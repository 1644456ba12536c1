"""Fine-tuning by distillation: a network changed for its file learns to answer as the one it was made from.

Plain TensorFlow, for Keras 3 and for the older Keras of the environment for quantization-aware training alike. No label
is needed: what is wanted are the answers of the float network to the very same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

__all__ = ["BATCH", "Answering", "Weight", "distil"]

BATCH, SEED = 32, 0
_LOOKS = 20  # at all weights, over the steps
_HEAT = 2.0  # temperature at which the scores are compared
_MOMENTA, _TINY = (0.9, 0.99), 1e-8  # of Adam
_WARM_UP = 0.05  # of the steps

Answering: TypeAlias = Callable[[Any], Mapping[str, Any]]  # uint8[N,S,S,3] to evidence and embedding


class Weight(NamedTuple):
    """A variable to train, and how far a step takes it: in parts of the size of its channel's weights."""

    variable: Any
    channels: int | None  # the axis that counts output channels; None: it has one number for each
    stored: Callable[[Any], Any] | None = None  # what of it the file can hold; the network computes with that


def distil(
    student: Answering,
    teacher: Answering,
    weights: Sequence[Weight],
    pictures: NDArray[np.uint8],
    *,
    steps: int,
    rate: float,
    more: Callable[[int], None],
    refresh: Callable[[float, list[NDArray[np.float32]]], None] | None = None,
) -> None:
    """Train `weights` of `student` for `steps` batches, randomly turned and mirrored; the same way every time.

    `refresh` sees now and then how much of the training is done, from 0 to 1, and all weights behind those that are
    stored. `more` is told of every step.
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
        wanted = teacher(batch)
        store()
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = _difference(student(batch), wanted)
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
        if refresh is not None and number % max(1, steps // _LOOKS) == 0:
            refresh(number / steps, [one.numpy() for one in free])
        batch = pictures[np.sort(random.choice(len(pictures), min(BATCH, len(pictures)), replace=False))]
        traced(
            tf.constant(_turned(batch, random)),
            tf.constant(rate * _slope(number, steps), tf.float32),
            tf.constant(number + 1, tf.float32),
        )
        more(1)
    if refresh is not None:
        refresh(1.0, [one.numpy() for one in free])
    store()


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """How far two sets of answers are apart: scores by divergence, maps and features by the square of the distance."""
    scores, others = (tf.reduce_mean(answer["evidence"], axis=(1, 2)) / _HEAT for answer in (wanted, found))
    apart = tf.nn.softmax(scores) * (tf.nn.log_softmax(scores) - tf.nn.log_softmax(others))
    loss = _HEAT**2 * tf.reduce_mean(tf.reduce_sum(apart, axis=-1))
    for key in ("evidence", "embedding"):
        loss += tf.reduce_mean((found[key] - wanted[key]) ** 2) / (tf.math.reduce_variance(wanted[key]) + _TINY)
    return loss


def _sizes(weight: Weight) -> Any:
    """The root mean square of each channel; no channel counts as a hundred times smaller than the largest."""
    values = np.asarray(weight.variable, np.float32)
    others = (
        tuple(axis for axis in range(values.ndim) if axis != weight.channels) if weight.channels is not None else None
    )
    size = np.sqrt(np.mean(values**2, axis=others, keepdims=True))
    return tf.constant(np.maximum(size, max(1e-3, 0.01 * float(size.max()))), tf.float32)


def _turned(batch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """One of the eight ways in which a square picture can lie."""
    turned = np.rot90(batch, int(random.integers(4)), (1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if random.integers(2) else turned)


def _slope(number: int, steps: int) -> float:
    """The share of the learning rate at a step: up in a few, then down along a cosine."""
    warm = max(1, round(_WARM_UP * steps))
    if number < warm:
        return (number + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (number - warm) / max(1, steps - warm)))
