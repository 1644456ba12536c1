"""Put the verdict into sentences for people who deploy a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from spot_bench.drift.gate import zero_statement
from spot_bench.drift.report import group_name, model_title

__all__ = ["criterion_sentence", "headline", "sentences", "subgroup_name"]


def headline(comparison: dict[str, Any]) -> str:
    """Return the verdict in one sentence."""
    verdict, baseline = comparison["verdict"]["verdict"], model_title(comparison["baseline"])
    if verdict == "pass":
        return f"Non-inferior to {baseline} within the margins."
    beyond = [c["name"] for c in comparison["verdict"]["criteria"] if c["verdict"] == verdict]
    if verdict == "fail":
        return f"Worse than {baseline} beyond the margin for: {', '.join(beyond)}."
    group = group_name(comparison["baseline"])
    return f"Too few {group}s to decide whether it is worse than {baseline}. Undecided: {', '.join(beyond)}."


def sentences(comparison: dict[str, Any]) -> Iterator[str]:
    """Yield the reasons for the verdict and the affected subgroups."""
    yield from _flips(comparison)
    for criterion in comparison["verdict"]["criteria"]:
        group = group_name(comparison["baseline"])
        if criterion["verdict"] != "pass":
            yield criterion_sentence(criterion, group)
        if zero := zero_statement(comparison, criterion, group):
            yield f"{zero}."
    yield from _subgroups(comparison["subgroups"])


def criterion_sentence(criterion: dict[str, Any], group: str = "lesion") -> str:
    """Describe one criterion of the gate, in percentage points."""
    value, low, high, margin = (100 * criterion[key] for key in ("worse_by", "low", "high", "margin"))
    known = f"{criterion['name']}: worse by {value:.1f} points. These {criterion['n']} {group}s allow {low:.1f} to "
    known += f"{high:.1f}; the margin is {margin:.1f}."
    needed = criterion["would_tell"]
    return f"{known} About {needed:,} {group}s are needed to decide." if needed else known


def subgroup_name(attribute: str, subgroup: str) -> str:
    """Return a name such as `age: 30 to 49`."""
    return f"{attribute.replace('_', ' ')}: {subgroup or 'not stated'}"


def _flips(comparison: dict[str, Any]) -> Iterator[str]:
    images, flips = comparison["baseline"]["images"], comparison["flips"]
    if not flips:
        yield f"No image of {images} flips."
        return
    effects = Counter(flip["effect"] for flip in flips)
    overall = comparison["mcnemar"]["all"]["images"]
    yield (
        f"{len(flips)} of {images} images ({100 * len(flips) / images:.1f} %) flip: "
        f"{overall['lost']} were right and are now wrong, {overall['gained']} the reverse."
    )
    if effects["malignancy lost"]:
        images = "1 image" if effects["malignancy lost"] == 1 else f"{effects['malignancy lost']} images"
        yield f"{images} of malignant lesions had a malignant top class and now a benign one."


def _subgroups(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    known = [(attribute, record) for attribute, records in found.items() for record in records if record["agreement"]]
    worse = [
        f"{subgroup_name(attribute, record['subgroup'])} ({name} {record[key]['difference']['value']:+.3f})"
        for attribute, record in known
        for key, name in (("balanced_accuracy", "balanced accuracy"), ("malignant_recall", "malignant recall"))
        if record[key] is not None and (record[key]["difference"]["high"] or 0.0) < 0
    ]
    if worse:
        yield (
            f"Among {len(known)} subgroups, the whole interval is a loss for {'; '.join(worse)}. With so many, "
            "one may be a loss by chance."
        )
    elif known:
        yield f"In none of {len(known)} subgroups with enough images is the whole interval a loss."
