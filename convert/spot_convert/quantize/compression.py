"""Networks whose int8 weights compress: pruned to nought, or gathered in few clusters, and fine-tuned as such.

What compresses is what the file stores: whole numbers, the largest of each channel being 127. So clusters are made of
weights in parts of the largest of their channel; to fold a batch norm in, which multiplies whole channels, changes
nothing of that, and nought stays nought. The network computes with what will be stored, while the weights behind it
learn on freely, and may come back.
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

_SHARE = 0.97  # of all weights are in the large layers, which are changed; the small ones stay as they are
_PRUNED_BY, _SETTLED = 0.6, 0.8  # of the steps
_RATE = 0.0006
_ROUNDS = 20  # of gathering

Refresh = Callable[[float, list[NDArray[np.float32]]], None]


def pruned(run: Run, pictures: NDArray[np.uint8], more: Callable[[int], None]) -> Any:
    """The network of `run` with the wanted share of the weights of its large layers nought, learned from `pictures`."""
    student = _copy(run.body)
    large = _large_layers(student)
    masks = [tf.Variable(tf.ones_like(layer.kernel.value)) for layer in large]
    folds = [_fold(layer) for layer in large]
    reached = 0.0

    def refresh(done: float, free: list[NDArray[np.float32]]) -> None:
        nonlocal reached
        share = run.retraining.sparsity * (1 - (1 - min(1.0, done / _PRUNED_BY)) ** 3)
        if share == reached and done > _SETTLED:
            return  # what is left learns to do without the rest
        reached = share
        kept = kept_weights([values * fold for values, fold in zip(free, folds, strict=True)], share)
        for mask, one in zip(masks, kept, strict=True):
            mask.assign(one.astype(np.float32))

    _train(run, student, large, [partial(tf.multiply, mask) for mask in masks], pictures, refresh, more)
    return student


def clustered(run: Run, pictures: NDArray[np.uint8], more: Callable[[int], None]) -> Any:
    """The network of `run` with the wanted number of different int8 weights in each of its large layers."""
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
        [partial(_gathered, table) for table in tables],
        pictures,
        refresh,
        more,
    )
    return student


def kept_weights(layers: Sequence[NDArray[np.float32]], sparsity: float) -> list[NDArray[np.bool_]]:
    """Which weights stay where that share of them all goes: those that weigh least beside the rest of their layer.

    (Lee et al., Layer-adaptive sparsity for the magnitude-based pruning, 2021.)
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
    """The `clusters` values, in parts of a channel's largest, that a kernel's weights gather around: rising whole
    127ths, among them nought and both ends, and symmetric, as a batch norm may turn a channel's sign.
    """
    shares = np.abs(kernel) / np.maximum(np.abs(kernel).max(axis=(0, 1, 2), keepdims=True), np.finfo(np.float32).tiny)
    counts = np.bincount(np.round(LEVELS * shares).astype(int).ravel(), minlength=LEVELS + 1)
    steps = np.arange(LEVELS + 1)
    half = clusters // 2
    # From nought to the end, at first with as many weights between each two.
    centres = np.interp(np.arange(half + 1) / half, np.cumsum(counts) / counts.sum(), steps)
    centres[0], centres[-1] = 0, LEVELS
    for _ in range(_ROUNDS):
        nearest = np.abs(steps[:, None] - centres[None]).argmin(axis=1)
        weights = np.bincount(nearest, counts, half + 1)
        sums = np.bincount(nearest, counts * steps, half + 1)
        centres[1:-1] = np.where(weights > 0, sums / np.maximum(weights, 1), centres)[1:-1]
    whole = np.round(np.sort(centres)) / LEVELS
    return np.concatenate([-whole[:0:-1], whole]).astype(np.float32)


def _gathered(table: Any, kernel: Any) -> Any:
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
    pictures: NDArray[np.uint8],
    refresh: Refresh,
    more: Callable[[int], None],
) -> None:
    """The student's weights, with those of its `large` layers as they will be stored, from the answers of the run's."""
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
        pictures,
        steps=run.retraining.steps,
        rate=_RATE,
        refresh=lambda done, free: refresh(done, free[: len(large)]),
        more=more,
    )


def _copy(body: Any) -> Any:
    copy = keras.models.clone_model(body)
    copy.set_weights(body.get_weights())
    for layer in copy.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it heeds new weights only then
    return copy


def _large_layers(body: Any) -> list[Any]:
    """The convolutions that hold nearly all weights, the largest first; depthwise ones are never among them."""
    found = [
        layer
        for layer in body.layers
        if isinstance(layer, keras.layers.Conv2D) and not isinstance(layer, keras.layers.DepthwiseConv2D)
    ]
    found.sort(key=lambda layer: -int(np.prod(layer.kernel.shape)))
    sizes = np.array([np.prod(layer.kernel.shape) for layer in found])
    return found[: int(np.searchsorted(np.cumsum(sizes), _SHARE * sizes.sum())) + 1]


def _fold(layer: Any) -> NDArray[np.float32]:
    """What the batch norm behind a convolution multiplies its channels with."""
    behind = [node.operation for node in layer._outbound_nodes]
    if len(behind) == 1 and isinstance(behind[0], keras.layers.BatchNormalization):
        norm = behind[0]
        gamma = np.asarray(norm.gamma) if norm.gamma is not None else 1.0
        return np.asarray(np.abs(gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)), np.float32)
    return np.ones(layer.kernel.shape[-1], np.float32)
