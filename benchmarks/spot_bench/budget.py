"""What leaving single layers in higher precision may cost: the table `[mix]` of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from spot_edge.errors import DataError

__all__ = ["Budget", "budget_from"]


@dataclass(frozen=True, slots=True)
class Budget:
    """Up to where `int8-mixed` and `int4-mixed` may go before the drift gate passes."""

    bytes: float = 1.25  # times the weights' bytes with no layer raised
    products: float = 0.15  # share of the multiply-accumulates in float32: what stands for time


def budget_from(table: Any, where: str) -> Budget:
    """The budget of a recipe's table `[mix]`; DataError for an unknown key or a value that cannot be."""
    known = [field.name for field in fields(Budget)]
    if not isinstance(table, dict) or not set(table) <= set(known):
        raise DataError(f"{where}: mix must be a table of {', '.join(known)}")
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in table.values()):
        raise DataError(f"{where}: the budget of mix must be numbers")
    budget = Budget(**table)
    if not 1 <= budget.bytes <= 8:
        raise DataError(f"{where}: mix.bytes must be a number from 1 to 8")
    if not 0 <= budget.products <= 1:
        raise DataError(f"{where}: mix.products must be a number from 0 to 1")
    return budget
