"""The drift gate: is a quantized file non-inferior to its baseline, within stated margins?

A verdict depends on the interval of a figure: pass if even the bad end is within the margin, fail if even the good end
is beyond it, and undecided otherwise, with the number of lesions that would decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from spot_edge.errors import DataError
from spot_edge.model.spec import Criterion, Drift, Verdict

__all__ = ["Margins", "evaluate_drift", "margins_from"]

_USUAL = {"mel": 0.015}  # if melanoma is a class and the recipe says nothing else
SAME_SCORES = 0.005  # if no score differs by more, the file passes


@dataclass(frozen=True, slots=True)
class Margins:
    """How much worse than its baseline a file may be: the table `[gate]` of a recipe."""

    balanced_accuracy: float = 0.01
    recall: dict[str, float] = field(default_factory=dict)  # by class; if empty, 0.015 for melanoma
    agreement: float = 0.95  # of the top classes, without the most frequent class
    ece: float = 0.01
    macro_auc: float = 0.01


def margins_from(table: Any, where: str) -> Margins:
    """Read the margins of a recipe's table `[gate]`; raise DataError for an unknown key or a value not from 0 to 1."""
    known = [field.name for field in fields(Margins)]
    if not isinstance(table, dict) or not set(table) <= set(known):
        raise DataError(f"{where}: gate must be a table of {', '.join(known)}")
    recall = table.get("recall", {})
    shares = [*(value for key, value in table.items() if key != "recall"), *(dict(recall).values())]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1 for value in shares):
        raise DataError(f"{where}: the margins of gate must be numbers from 0 to 1")
    return Margins(**table)


def evaluate_drift(comparison: dict[str, Any], margins: Margins, *, measured_on: str) -> Drift:
    """Return the verdict on a comparison made by `spot_bench.drift.comparison.compare`: that of the worst criterion.

    Raise DataError for the margin of a class that the comparison does not have.
    """
    criteria = tuple(_criteria(comparison, margins))
    verdicts = {criterion.verdict for criterion in criteria}
    verdict: Verdict = "fail" if "fail" in verdicts else "undecided" if "undecided" in verdicts else "pass"
    if comparison["largest_score_difference"] <= SAME_SCORES:
        verdict = "pass"
    return Drift(verdict, comparison["baseline"]["model"].get("id", ""), measured_on, criteria)


def _criteria(comparison: dict[str, Any], margins: Margins) -> Iterator[Criterion]:
    differences, classes = comparison["differences"], comparison["baseline"]["classes"]
    unknown = sorted(set(margins.recall) - set(classes))
    if unknown:
        raise DataError(f"a margin for the recall of {unknown[0]!r}, but the classes are {', '.join(classes)}")
    yield _criterion("balanced accuracy", _negated(differences["balanced_accuracy"]), margins.balanced_accuracy)
    recall = margins.recall or {label: margin for label, margin in _USUAL.items() if label in classes}
    for label, margin in recall.items():
        yield _criterion(
            f"recall {label}", _negated(differences["recall"][label]) | {"groups": classes[label]["lesions"]}, margin
        )
    name, agreement = next(item for item in comparison["agreement"].items() if item[0].startswith("all but"))
    missed = {
        "value": 1 - agreement["value"] if agreement["value"] is not None else None,
        "low": 1 - agreement["high"],
        "high": 1 - agreement["low"],
        "groups": agreement["groups"],
    }
    yield _criterion(f"top-1 flips, {name}", missed, 1 - margins.agreement)
    yield _criterion("macro AUC", _negated(differences["macro_auc"]), margins.macro_auc)
    yield _criterion("ECE", differences["ece"], margins.ece)


def _negated(estimate: dict[str, Any]) -> dict[str, Any]:
    """Negate a difference, so that larger is worse."""
    if estimate["value"] is None:
        return estimate
    return estimate | {"value": 0 - estimate["value"], "low": 0 - estimate["high"], "high": 0 - estimate["low"]}


def _criterion(name: str, worse: dict[str, Any], margin: float) -> Criterion:
    value, low, high, n = (worse[key] for key in ("value", "low", "high", "groups"))
    margin = round(margin, 9)
    if value is None or low is None or high is None:
        return Criterion(name, 0.0, -1.0, 1.0, margin, n, "undecided")
    if high <= margin:
        return Criterion(name, value, low, high, margin, n, "pass")
    if low > margin:
        return Criterion(name, value, low, high, margin, n, "fail")
    return Criterion(name, value, low, high, margin, n, "undecided", _lesions_to_decide(value, low, high, margin, n))


def _lesions_to_decide(value: float, low: float, high: float, margin: float, n: int) -> int | None:
    """Estimate how many lesions would narrow the interval to one side of the margin, if the figure stayed the same."""
    room = abs(margin - value)
    reach = high - value if value < margin else value - low
    return math.ceil(n * (reach / room) ** 2) if reach < 30 * room else None  # at most 900 times as many
