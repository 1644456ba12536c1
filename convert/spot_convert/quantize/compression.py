"""Fine-tune networks whose int8 weights compress well: pruned to zero, or restricted to few distinct values.

What compresses is what the file stores: integers, with 127 for the largest weight of each channel. So clusters are
made of weights relative to the largest of their channel. Folding a batch norm multiplies whole channels, which changes
neither these ratios nor zeros. The network computes with the weights that will be stored, while the free weights behind
them keep learning. So a pruned weight can come back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from spot_convert.quantize.distillation import Weight, distil
from spot_convert.quantize.ranges import LEVELS
from spot_convert.run import Run

__all__ = ["clustered", "kept_weights", "levels", "pruned"]

_SHARE = 0.97  # of all weights are in the large layers. Only these are changed.
_PRUNED_BY, _FROZEN_FROM = 0.6, 0.8  # share of the steps
_RATE = 0.0006
_ROUNDS = 20  # of k-means

Refresh = Callable[[float, list[NDArray[np.float32]]], None]


def pruned(run: Run, images: NDArray[np.uint8], advance: Callable[[int], None]) -> Any:
    """Return the network of `run` with the requested share of the weights in its large layers zero, fine-tuned."""
    student = _copy(run.body)
    large = _large_layers(student)
    masks = [tf.Variable(tf.ones_like(layer.kernel.value)) for layer in large]
    folds = [_fold(layer) for layer in large]
    reached = 0.0

    def refresh(done: float, free: list[NDArray[np.float32]]) -> None:
        nonlocal reached
        share = run.retraining.sparsity * (1 - (1 - min(1.0, done / _PRUNED_BY)) ** 3)
        if share == reached and done > _FROZEN_FROM:
            return  # the remaining weights now adapt to a fixed choice
        reached = share
        kept = kept_weights([values * fold for values, fold in zip(free, folds, strict=True)], share)
        for mask, one in zip(masks, kept, strict=True):
            mask.assign(one.astype(np.float32))

    _train(run, student, large, [partial(tf.multiply, mask) for mask in masks], images, refresh, advance)
    return student


def clustered(run: Run, images: NDArray[np.uint8], advance: Callable[[int], None]) -> Any:
    """Return the network of `run` with the requested number of distinct weights in each large layer, fine-tuned."""
    student = _copy(run.body)
    large = _large_layers(student)
    clusters = run.retraining.clusters
    tables = [tf.Variable(tf.zeros(clusters)) for _ in large]

    def refresh(done: float, free: list[NDArray[np.float32]]) -> None:
        for table, values in zip(tables, free, strict=True):
            table.assign(levels(values, clusters))

    _train(
        run,
        student,
        large,
        [partial(_nearest_levels, table) for table in tables],
        images,
        refresh,
        advance,
    )
    return student


def kept_weights(layers: Sequence[NDArray[np.float32]], sparsity: float) -> list[NDArray[np.bool_]]:
    """Return masks of the weights to keep when a share `sparsity` of all weights is pruned.

    Weights that are small relative to the larger ones of their layer go first (Lee et al., Layer-adaptive sparsity for
    the magnitude-based pruning, 2021).
    """
    scores = []
    for values in layers:
        squares = values.astype(np.float64).ravel() ** 2
        order = np.argsort(squares, kind="stable")
        score = np.empty_like(squares)
        score[order] = squares[order] / np.maximum(np.cumsum(squares[order][::-1])[::-1], np.finfo(np.float64).tiny)
        scores.append(score)
    every = np.concatenate(scores)
    gone = round(sparsity * len(every))
    if not gone:
        return [np.ones(values.shape, bool) for values in layers]
    least = np.partition(every, gone - 1)[gone - 1]
    return [(score > least).reshape(values.shape) for score, values in zip(scores, layers, strict=True)]


def levels(kernel: NDArray[np.float32], clusters: int) -> NDArray[np.float32]:
    """Return the `clusters` values that best represent a kernel's weights, relative to the largest of each channel.

    The values are increasing multiples of 1/127 and include -1, 0 and 1. They are symmetric, because a batch norm may
    flip the sign of a channel.
    """
    shares = np.abs(kernel) / np.maximum(np.abs(kernel).max(axis=(0, 1, 2), keepdims=True), np.finfo(np.float32).tiny)
    counts = np.bincount(np.round(LEVELS * shares).astype(int).ravel(), minlength=LEVELS + 1)
    steps = np.arange(LEVELS + 1)
    half = clusters // 2
    # Start with centres from 0 to 127 that have equally many weights between them.
    centres = np.interp(np.arange(half + 1) / half, np.cumsum(counts) / counts.sum(), steps)
    centres[0], centres[-1] = 0, LEVELS
    for _ in range(_ROUNDS):
        nearest = np.abs(steps[:, None] - centres[None]).argmin(axis=1)
        weights = np.bincount(nearest, counts, half + 1)
        sums = np.bincount(nearest, counts * steps, half + 1)
        centres[1:-1] = np.where(weights > 0, sums / np.maximum(weights, 1), centres)[1:-1]
    whole = np.round(np.sort(centres)) / LEVELS
    return np.concatenate([-whole[:0:-1], whole]).astype(np.float32)


def _nearest_levels(table: Any, kernel: Any) -> Any:
    """Replace each weight by the nearest level of `table`, relative to the largest weight of its channel."""
    largest = tf.reduce_max(tf.abs(kernel), axis=(0, 1, 2), keepdims=True)
    shares = tf.math.divide_no_nan(kernel, largest)
    between = (table[1:] + table[:-1]) / 2
    places = tf.searchsorted(between, tf.reshape(shares, [-1]))
    return tf.reshape(tf.gather(table, places), tf.shape(kernel)) * largest


def _train(
    run: Run,
    student: Any,
    large: list[Any],
    stored: list[Callable[[Any], Any]],
    images: NDArray[np.uint8],
    refresh: Refresh,
    advance: Callable[[int], None],
) -> None:
    """Train all weights of the student by distillation; those of its `large` layers are used as they will be stored."""
    places = {layer.name: change for layer, change in zip(large, stored, strict=True)}
    first = [Weight(layer.kernel.value, 3, places[layer.name]) for layer in large]
    others = []
    for layer in student.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            others.append(Weight(layer.kernel.value, 2))
        elif isinstance(layer, keras.layers.Conv2D) and layer.name not in places:
            others.append(Weight(layer.kernel.value, 3))
        if isinstance(layer, keras.layers.BatchNormalization):
            others += [Weight(one.value, None) for one in (layer.gamma, layer.beta) if one is not None]
        elif getattr(layer, "bias", None) is not None:
            others.append(Weight(layer.bias.value, None))
    distil(
        lambda batch: student(batch, training=False),
        lambda batch: run.body(batch, training=False),
        [*first, *others],
        images,
        steps=run.retraining.steps,
        rate=_RATE,
        refresh=lambda done, free: refresh(done, free[: len(large)]),
        advance=advance,
    )


def _copy(body: Any) -> Any:
    copy = keras.models.clone_model(body)
    copy.set_weights(body.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # Keras uses the new weights only after this call
    return copy


def _large_layers(body: Any) -> list[Any]:
    """Return the convolutions that hold nearly all weights, largest first. Depthwise ones are not among them."""
    found = [
        layer
        for layer in body.layers
        if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)
    ]
    found.sort(key=lambda layer: -int(np.prod(layer.kernel.shape)))
    sizes = np.array([np.prod(layer.kernel.shape) for layer in found])
    return found[: int(np.searchsorted(np.cumsum(sizes), _SHARE * sizes.sum())) + 1]


def _fold(layer: Any) -> NDArray[np.float32]:
    """Return the factor of each channel in the batch norm after a convolution."""
    following = [node.operation for node in layer._outbound_nodes]
    if len(following) == 1 and isinstance(following[0], keras.layers.BatchNormalization):
        norm = following[0]
        gamma = np.asarray(norm.gamma) if norm.gamma is not None else 1.0
        return np.asarray(np.abs(gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)), np.float32)
    return np.ones(layer.kernel.shape[-1], np.float32)
