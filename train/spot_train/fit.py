"""The optimisation itself: the head alone, then all layers, on pictures that lie decoded on disk."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from spot_train.augment import RandomPicture
from spot_train.network import build_body, freeze_batch_norm, trunk_layers
from spot_train.recipe import Recipe

__all__ = ["Epoch", "class_weights", "fit", "predict_logits"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch did."""

    phase: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    seconds: float
    images_per_second: float


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Shuffled batches of pictures, one-hot labels and weights; the last, smaller one is left out."""

    def __init__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.int64], weights: NDArray[np.float32], recipe: Recipe
    ):
        super().__init__()
        self._pixels, self._labels, self._weights = pixels, labels, weights
        self._batch = min(recipe.train.batch, len(labels))
        self._random = np.random.default_rng(recipe.train.seed)
        self._classes = len(weights)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._labels) // self._batch

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        rows = np.sort(self._order[index * self._batch : (index + 1) * self._batch])
        labels = self._labels[rows]
        return self._pixels[rows], np.eye(self._classes, dtype=np.float32)[labels], self._weights[labels]

    def on_epoch_end(self) -> None:
        self._order = self._random.permutation(len(self._labels))


@dataclass
class _History(keras.callbacks.Callback):  # type: ignore[misc]
    phase: str
    images: int
    epochs: int
    report: Callable[[Epoch], None]
    history: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = time.perf_counter() - self._start
        done = Epoch(
            self.phase,
            epoch + 1,
            self.epochs,
            float(logs["loss"]),
            float(logs["accuracy"]),
            seconds,
            self.images / seconds,
        )
        self.history.append(done)
        self.report(done)


def class_weights(labels: NDArray[np.int64], classes: int, power: float) -> NDArray[np.float32]:
    """(1 / class frequency) ** power, scaled so that the average picture weighs one."""
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    weights = np.where(counts > 0, (len(labels) / np.maximum(counts, 1)) ** power, 0.0)
    return np.asarray(weights * len(labels) / (weights * counts).sum(), np.float32)


def fit(
    recipe: Recipe,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: int,
    load_weights: Callable[[Any], None],
    report: Callable[[Epoch], None],
) -> tuple[Any, list[Epoch]]:
    """Train a body as `recipe` says; the body in float32, and what each epoch did.

    `load_weights` puts the pretrained trunk into the fresh body; `report` is told of each epoch as it ends.
    """
    settings = recipe.train
    keras.utils.set_random_seed(settings.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        body = build_body(dataclasses.replace(recipe.network, size=_training_size(recipe)), classes)
    finally:
        keras.config.set_dtype_policy(policy)
    load_weights(body)
    history: list[Epoch] = []
    batches = _Batches(pixels, labels, class_weights(labels, classes, settings.class_weight_power), recipe)
    if settings.head_epochs:
        for layer in trunk_layers(body):
            layer.trainable = False
        history += _phase(body, recipe, batches, "head", settings.head_epochs, settings.head_learning_rate, report)
        for layer in trunk_layers(body):
            layer.trainable = True
    if settings.epochs:
        if settings.batch_norm == "frozen":
            freeze_batch_norm(body)
        else:
            for layer in body.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.momentum = settings.batch_norm_momentum
        history += _phase(body, recipe, batches, "all", settings.epochs, settings.learning_rate, report)
    plain = build_body(recipe.network, classes)
    plain.set_weights(body.get_weights())
    return plain, history


def predict_logits(body: Any, pixels: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """The logits (the mean evidence) of every picture, a batch at a time."""
    rows: Sequence[NDArray[np.float32]] = [
        np.asarray(keras.ops.convert_to_numpy(body.predict_on_batch(np.asarray(pixels[i : i + batch]))["evidence"]))
        for i in range(0, len(pixels), batch)
    ]
    return np.asarray(np.concatenate(rows).mean(axis=(1, 2)), np.float32)


def _phase(
    body: Any,
    recipe: Recipe,
    batches: _Batches,
    phase: str,
    epochs: int,
    learning_rate: float,
    report: Callable[[Epoch], None],
) -> list[Epoch]:
    settings = recipe.train
    stored = keras.Input((settings.stored_size, settings.stored_size, 3), dtype="uint8")
    changed = RandomPicture(recipe.augment, _training_size(recipe), settings.seed + len(phase))(stored)
    evidence = body(changed)["evidence"]
    logits = keras.layers.GlobalAveragePooling2D(dtype="float32")(evidence)
    model = keras.Model(stored, logits)
    model.compile(
        optimizer=_optimizer(recipe, len(batches) * epochs, len(batches), learning_rate),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
        weighted_metrics=[],
        metrics=["accuracy"],
        jit_compile=keras.config.backend() == "jax",
    )
    history = _History(phase, len(batches) * recipe.train.batch, epochs, report)
    model.fit(batches, epochs=epochs, verbose=0, shuffle=False, callbacks=[history])
    return history.history


def _training_size(recipe: Recipe) -> int:
    return recipe.train.size or recipe.network.size


def _optimizer(recipe: Recipe, steps: int, epoch: int, learning_rate: float) -> Any:
    settings = recipe.train
    warmup = min(steps - 1, round(settings.warmup_epochs * epoch))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / 100 if warmup else learning_rate,
        decay_steps=max(1, steps - warmup),
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    ema = {"use_ema": True, "ema_momentum": settings.ema} if settings.ema else {}
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, **ema)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
