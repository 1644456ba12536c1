"""Optimisers by name, their learning rates, and an average of weights that is only looked at when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from spot_train.loop.checkpoint import Epoch
from spot_train.recipes.recipe import Train

__all__ = ["LateAverage", "make_optimizer", "plateau_rate"]


class LateAverage:
    """Mixed into an optimiser: Keras puts the averaged weights into the model whenever `fit` ends; this one waits."""

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Nothing yet: `fit` is called once an epoch."""

    def settle(self, variables: Sequence[Any]) -> None:
        """The averaged weights into the model, for good; without an average nothing changes."""
        super().finalize_variable_values(variables)  # type: ignore[misc]

    @contextmanager
    def averaged(self, variables: Sequence[Any]) -> Iterator[None]:
        """The averaged weights in the model, for as long as the block lasts."""
        raw = [keras.ops.copy(variable.value) for variable in variables] if self.use_ema else []  # type: ignore[attr-defined]
        self.settle(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, raw, strict=False):
                variable.assign(value)

    learning_rate: Any
    variables: Any
    build: Any


class SpotAdamW(LateAverage, keras.optimizers.AdamW):  # type: ignore[misc]
    pass


class SpotAdam(LateAverage, keras.optimizers.Adam):  # type: ignore[misc]
    pass


class SpotRMSprop(LateAverage, keras.optimizers.RMSprop):  # type: ignore[misc]
    pass


def make_optimizer(train: Train, steps: int, epoch: int, learning_rate: float) -> Any:
    """The optimiser for a phase of `steps` steps, `epoch` of them in an epoch."""
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
    """The learning rate after `history`: a tenth each time the validation loss did not fall for `patience` epochs."""
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
