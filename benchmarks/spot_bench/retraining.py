"""How the variants that train are made: the table `[retrain]` of a recipe."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any

from spot_edge.errors import DataError

__all__ = ["Retraining", "retraining_from"]


@dataclass(frozen=True, slots=True)
class Retraining:
    """Settings of the fine-tuning behind `qat-int8`, `pruned-int8` and `clustered-int8`."""

    steps: int = 200  # batches of 32 training images, for each variant
    sparsity: float = 0.5  # share of nought among the weights of the layers that are pruned
    clusters: int = 15  # different weights of a layer that is clustered: nought and as many on either side


def retraining_from(table: Any, where: str) -> Retraining:
    """The settings of a recipe's table `[retrain]`; DataError for an unknown key or a value that cannot be."""
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
            "retrain.clusters must be an odd number from 3 to 255: nought and as many on either side",
        ),
    ]
    for holds, rule in rules:
        if not holds:
            raise DataError(f"{where}: {rule}")
    return Retraining(steps, float(sparsity), clusters)
