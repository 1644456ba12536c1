"""The drift gate: is a quantized file non-inferior to its baseline, within stated margins?

A verdict depends on the interval of a figure: pass if even the bad end is within the margin, fail if even the good end
is beyond it, and undecided otherwise, with the number of lesions that would decide.

The ends of the losses of recall and of the flips are one-sided 95 % bounds from counts of lesions
(`spot_bench.stats.exact`), which hold for few lesions and for none lost. Those of AUC and ECE are the paired
bootstrap's. docs/reports/gate.md has the error rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.drift.margins import NOT_ASKED, PRESETS, Margins, margins_from, resolved
from spot_bench.stats.exact import binomial_lower, binomial_upper, net_loss
from spot_edge.errors import DataError
from spot_edge.model.spec import Criterion, Drift, Verdict

__all__ = [
    "PRESETS",
    "Margins",
    "counts_of",
    "evaluate_drift",
    "margins_from",
    "more_images",
    "resolved",
    "zero_statement",
]

_USUAL = {"mel": 0.015}  # if melanoma is a class and the recipe says nothing else
SAME_SCORES = 0.005  # if no score differs by more, the file passes
_MOST = 900  # times the lesions: more than that is no advice
_MALIGNANT = "malignant recall"
_FLIPS = "top-1 flips, "
_RECALL = "recall "


def evaluate_drift(comparison: dict[str, Any], margins: Margins, *, measured_on: str) -> Drift:
    """Return the verdict on a comparison made by `spot_bench.drift.comparison.compare`: that of the worst criterion.

    Raise DataError for the margin of a class that the comparison does not have, and for a margin of malignant recall if
    no class is malignant.
    """
    criteria = tuple(_criteria(comparison, resolved(margins)))
    verdicts = {criterion.verdict for criterion in criteria}
    verdict: Verdict = "fail" if "fail" in verdicts else "undecided" if "undecided" in verdicts else "pass"
    if comparison["largest_score_difference"] <= SAME_SCORES:
        verdict = "pass"
    return Drift(verdict, comparison["baseline"]["model"].get("id", ""), measured_on, criteria)


def counts_of(comparison: dict[str, Any], criterion: str) -> str:
    """Say on which lesions a criterion rests, such as `2 lost, 1 gained`; empty for AUC and ECE."""
    exact = comparison.get("exact")
    if exact is None:  # an old report
        return ""
    if criterion.startswith(_FLIPS):
        return f"{exact['flips'][criterion.removeprefix(_FLIPS)]['flipped']} flipped"
    found = exact["balanced_accuracy"] if criterion == "balanced accuracy" else None
    if criterion == _MALIGNANT:
        found = exact["malignant_recall"]
    elif criterion.startswith(_RECALL):
        found = exact["recall"][criterion.removeprefix(_RECALL)]
    return f"{found['lost']} lost, {found['gained']} gained" if found else ""


def zero_statement(comparison: dict[str, Any], criterion: dict[str, Any], group: str = "lesion") -> str:
    """Say what it proves that no lesion was lost or flipped: `0 of 250 lesions flipped: at most 1.2 %`; else empty."""
    counts = counts_of(comparison, criterion["name"])
    what = "flipped" if counts.startswith("0 flipped") else "lost or gained" if counts == "0 lost, 0 gained" else ""
    if not what or not criterion["n"]:
        return ""
    return f"{criterion['name']}: 0 of {criterion['n']} {group}s {what}: at most {100 * criterion['high']:.1f} %"


def more_images(
    comparison: dict[str, Any],
    group: str = "lesion",
    options: tuple[str, str] = ("--data MANIFEST", "--unlabelled FOLDER"),
) -> str:
    """Say in one line how many lesions would decide an undecided verdict, and with which options to add them."""
    parts = []
    for criterion in comparison["verdict"]["criteria"]:
        name, needed = criterion["name"], criterion["would_tell"]
        if criterion["verdict"] != "undecided":
            continue
        if name == "balanced accuracy" and "exact" in comparison and needed:
            found = comparison["exact"]["balanced_accuracy"]
            least = math.ceil(found["rarest_lesions"] * needed / criterion["n"])
            parts.append(f"{name} {needed} (of the rarest class, {found['rarest']}, {least})")
        else:
            parts.append(f"{name} {needed or f'more than {_MOST} times as many'}")
    return (
        f"about this many {group}s would decide: {', '.join(parts)}. Add labelled images with {options[0]}, and for "
        f"flips any images with {options[1]}"
    )


def _criteria(comparison: dict[str, Any], margins: Margins) -> Iterator[Criterion]:
    differences, exact, classes = comparison["differences"], comparison["exact"], comparison["baseline"]["classes"]
    unknown = sorted(set(margins.recall) - set(classes))
    if unknown:
        raise DataError(f"a margin for the recall of {unknown[0]!r}, but the classes are {', '.join(classes)}")
    if margins.balanced_accuracy < NOT_ASKED:
        yield _counted("balanced accuracy", exact["balanced_accuracy"], margins.balanced_accuracy, _by_class(exact))
    if margins.malignant_recall < NOT_ASKED:
        if exact["malignant_recall"] is None:
            raise DataError(
                "a margin for malignant recall, but no image is of a malignant class. Choose the margins any-images"
            )
        yield _net(_MALIGNANT, exact["malignant_recall"], margins.malignant_recall)
    usual = {} if margins.preset else {label: margin for label, margin in _USUAL.items() if label in classes}
    for label, margin in (margins.recall or usual).items():
        if margin < NOT_ASKED:
            yield _net(f"{_RECALL}{label}", exact["recall"][label], margin)
    name, flips = next(item for item in exact["flips"].items() if item[0].startswith("all but"))
    if margins.agreement > 1 - NOT_ASKED:
        counts = [(flips["flipped"], flips["lesions"])]
        yield _counted(f"{_FLIPS}{name}", flips, 1 - margins.agreement, counts)
    if margins.macro_auc < NOT_ASKED:
        yield _resampled("macro AUC", _negated(differences["macro_auc"]), margins.macro_auc)
    if margins.ece < NOT_ASKED:
        yield _resampled("ECE", differences["ece"], margins.ece)


def _by_class(exact: dict[str, Any]) -> list[tuple[int, int, int]]:
    return [(found["lost"], found["gained"], found["lesions"]) for found in exact["recall"].values()]


def _net(name: str, found: dict[str, Any], margin: float) -> Criterion:
    return _counted(name, found, margin, [(found["lost"], found["gained"], found["lesions"])])


def _counted(name: str, found: dict[str, Any], margin: float, counts: Sequence[tuple[int, ...]]) -> Criterion:
    """Decide by bounds from `counts` by class: lesions lost, gained and all; or lesions flipped and all."""
    value, low, high, n, margin = found["value"], found["low"], found["high"], found["lesions"], round(margin, 9)
    verdict = verdict_of(low, high, margin)
    needed = _enough(counts, margin) if verdict == "undecided" and n else None
    return Criterion(name, value, low, high, margin, n, verdict, needed)


def _enough(counts: Sequence[tuple[int, ...]], margin: float) -> int | None:
    """Estimate how many lesions would decide, if classes and shares stayed the same; None if too many."""
    each = np.array(counts)

    def decided(times: float) -> bool:
        return verdict_of(*_bounds(np.rint(each * times).astype(np.int64)), margin) != "undecided"

    few, enough = 0.0, 1.0  # logarithms to the base _MOST
    if not decided(_MOST):
        return None
    while (enough - few) * math.log(_MOST) > 1e-3:
        middle = (few + enough) / 2
        few, enough = (few, middle) if decided(_MOST**middle) else (middle, enough)
    times: float = _MOST**enough
    return math.ceil(int(each[:, -1].sum()) * times)


def _bounds(counts: NDArray[np.int64]) -> tuple[float, float]:
    if counts.shape[1] == 2:
        ((flipped, lesions),) = counts.tolist()
        return binomial_lower(flipped, lesions), binomial_upper(flipped, lesions)
    found = net_loss(*counts.T)
    return found.low, found.high


def _negated(estimate: dict[str, Any]) -> dict[str, Any]:
    """Negate a difference, so that larger is worse."""
    if estimate["value"] is None:
        return estimate
    return estimate | {"value": 0 - estimate["value"], "low": 0 - estimate["high"], "high": 0 - estimate["low"]}


def _resampled(name: str, worse: dict[str, Any], margin: float) -> Criterion:
    """Decide by an interval of the paired bootstrap."""
    value, low, high, n = (worse[key] for key in ("value", "low", "high", "groups"))
    margin = round(margin, 9)
    if value is None or low is None or high is None:
        return Criterion(name, 0.0, -1.0, 1.0, margin, n, "undecided")
    verdict = verdict_of(low, high, margin)
    needed = _lesions_to_decide(value, low, high, margin, n) if verdict == "undecided" else None
    return Criterion(name, value, low, high, margin, n, verdict, needed)


def verdict_of(low: float, high: float, margin: float) -> Verdict:
    """Return the rule of the gate: what an interval from `low` to `high` says about a margin."""
    return "pass" if high <= margin else "fail" if low > margin else "undecided"


def _lesions_to_decide(value: float, low: float, high: float, margin: float, n: int) -> int | None:
    """Estimate how many lesions would narrow the interval to one side of the margin, if the figure stayed the same."""
    room = abs(margin - value)
    reach = high - value if value < margin else value - low
    return math.ceil(n * (reach / room) ** 2) if reach < 30 * room else None  # at most _MOST times as many
