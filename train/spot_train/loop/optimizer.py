"""Optimizers by name, learning rate schedules, and a moving average of weights that is applied only on request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from spot_train.loop.checkpoint import Epoch
from spot_train.recipes.recipe import Train

__all__ = ["DeferredAverage", "make_optimizer", "plateau_rate"]


class DeferredAverage:
    """Mix-in for an optimizer: `fit` leaves the raw weights in the model instead of their moving average."""

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Do nothing: `fit` is called once per epoch, and training must continue from the raw weights."""

    def apply_average(self, variables: Sequence[Any]) -> None:
        """Replace the model's weights by their average. Without an average, change nothing."""
        super().finalize_variable_values(variables)  # type: ignore[misc]

    @contextmanager
    def averaged(self, variables: Sequence[Any]) -> Iterator[None]:
        """Put the averaged weights into the model for the duration of the block."""
        raw = [keras.ops.copy(variable.value) for variable in variables] if self.use_ema else []  # type: ignore[attr-defined]
        self.apply_average(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, raw, strict=False):
                variable.assign(value)

    learning_rate: Any
    variables: Any
    build: Any


class SpotAdamW(DeferredAverage, keras.optimizers.AdamW):  # type: ignore[misc]
    pass


class SpotAdam(DeferredAverage, keras.optimizers.Adam):  # type: ignore[misc]
    pass


class SpotRMSprop(DeferredAverage, keras.optimizers.RMSprop):  # type: ignore[misc]
    pass


def make_optimizer(train: Train, steps: int, epoch: int, learning_rate: float) -> Any:
    """Return the optimizer for a phase of `steps` steps, with `epoch` steps per epoch."""
    rate: Any = learning_rate
    if train.schedule == "cosine":
        warmup = min(steps - 1, round(train.warmup_epochs * epoch))
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=learning_rate / 100 if warmup else learning_rate,
            decay_steps=max(1, steps - warmup),
            warmup_target=learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    average = {"use_ema": True, "ema_momentum": train.ema} if train.ema else {}
    if train.optimizer == "adam":
        return SpotAdam(rate, **average)
    if train.optimizer == "rmsprop":
        return SpotRMSprop(rate, **average)
    optimizer = SpotAdamW(rate, weight_decay=train.weight_decay, **average)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def plateau_rate(history: Sequence[Epoch], rate: float, train: Train) -> float:
    """Return the learning rate after `history`: a tenth whenever validation loss stalls for `patience` epochs."""
    best, waited = float("inf"), 0
    for epoch in history:
        if epoch.val_loss is None:
            continue
        if epoch.val_loss < best:
            best, waited = epoch.val_loss, 0
        else:
            waited += 1
            if waited >= train.patience:
                rate, waited = rate / 10, 0
    return rate
