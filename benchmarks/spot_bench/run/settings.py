"""The tables `[mix]` and `[retrain]` of a recipe, which the conversion uses."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any

from spot_edge.errors import DataError

__all__ = ["Budget", "Retraining", "budget_from", "retraining_from"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of `int8-mixed` and `int4-mixed` on keeping layers in higher precision: the table `[mix]`."""

    bytes: float = 1.25  # largest size of the weights, relative to that without such layers
    products: float = 0.15  # largest share of the multiply-accumulates in float32, as a proxy for time


def budget_from(table: Any, where: str) -> Budget:
    """Read the budget of a recipe's table `[mix]`; raise DataError for an unknown key or a bad value."""
    known = [field.name for field in fields(Budget)]
    if not isinstance(table, dict) or not set(table) <= set(known):
        raise DataError(f"{where}: mix must be a table of {', '.join(known)}")
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in table.values()):
        raise DataError(f"{where}: the values of mix must be numbers")
    budget = Budget(**table)
    if not 1 <= budget.bytes <= 8:
        raise DataError(f"{where}: mix.bytes must be a number from 1 to 8")
    if not 0 <= budget.products <= 1:
        raise DataError(f"{where}: mix.products must be a number from 0 to 1")
    return budget


@dataclass(frozen=True, slots=True)
class Retraining:
    """Settings of the fine-tuning for `qat-int8`, `pruned-int8` and `clustered-int8`: the table `[retrain]`."""

    steps: int = 200  # batches of 32 training images per variant
    sparsity: float = 0.5  # share of zeros among the weights of the pruned layers
    clusters: int = 15  # distinct weights of a clustered layer: zero, and equally many on either side


def retraining_from(table: Any, where: str) -> Retraining:
    """Read the settings of a recipe's table `[retrain]`; raise DataError for an unknown key or a bad value."""
    known = [field.name for field in fields(Retraining)]
    if not isinstance(table, dict):
        raise DataError(f"{where}: retrain must be a table of {', '.join(known)}")
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise DataError(
                f"{where}: unknown key {key!r} of retrain" + (f"; did you mean {near[0]!r}?" if near else "")
            )
    steps, sparsity, clusters = (table.get(key, getattr(Retraining(), key)) for key in known)
    rules = [
        (type(steps) is int and 1 <= steps <= 100_000, "retrain.steps must be a whole number from 1 to 100000"),
        (type(sparsity) in (int, float) and 0 < sparsity < 1, "retrain.sparsity must be a number between 0 and 1"),
        (
            type(clusters) is int and 3 <= clusters <= 255 and clusters % 2 == 1,
            "retrain.clusters must be an odd number from 3 to 255",
        ),
    ]
    for holds, rule in rules:
        if not holds:
            raise DataError(f"{where}: {rule}")
    return Retraining(steps, float(sparsity), clusters)
