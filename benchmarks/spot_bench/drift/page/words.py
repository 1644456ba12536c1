"""The verdict in sentences, for those who deploy a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from spot_bench.drift.report import called

__all__ = ["criterion_sentence", "headline", "sentences", "subgroup_name"]


def headline(comparison: dict[str, Any]) -> str:
    """The verdict in one sentence."""
    verdict, baseline = comparison["verdict"]["verdict"], called(comparison["baseline"])
    if verdict == "pass":
        return f"No worse than {baseline}, within the margins."
    beyond = [c["name"] for c in comparison["verdict"]["criteria"] if c["verdict"] == verdict]
    if verdict == "fail":
        return f"Worse than {baseline}, beyond the margin for: {', '.join(beyond)}."
    return f"Too few lesions to tell whether it is worse than {baseline}. Undecided: {', '.join(beyond)}."


def sentences(comparison: dict[str, Any]) -> Iterator[str]:
    """What stands behind the verdict, and whom it touches."""
    yield from _flips(comparison)
    for criterion in comparison["verdict"]["criteria"]:
        if criterion["verdict"] != "pass":
            yield criterion_sentence(criterion)
    yield from _subgroups(comparison["subgroups"])


def criterion_sentence(criterion: dict[str, Any]) -> str:
    """One criterion of the gate in words, in percentage points."""
    value, low, high, margin = (100 * criterion[key] for key in ("worse_by", "low", "high", "margin"))
    known = f"{criterion['name']}: worse by {value:.1f} points; with these {criterion['n']} lesions anything from "
    known += f"{low:.1f} to {high:.1f} is possible, and {margin:.1f} would do"
    more = criterion["would_tell"]
    return f"{known}. About {more:,} lesions would tell." if more else f"{known}."


def subgroup_name(attribute: str, subgroup: str) -> str:
    """Such as `age: 30 to 49`."""
    return f"{attribute.replace('_', ' ')}: {subgroup or 'not stated'}"


def _flips(comparison: dict[str, Any]) -> Iterator[str]:
    images, flips = comparison["baseline"]["images"], comparison["flips"]
    if not flips:
        yield f"All {images} images keep their first answer."
        return
    harms = Counter(flip["harm"] for flip in flips)
    overall = comparison["mcnemar"]["all"]["images"]
    yield (
        f"{len(flips)} of {images} images ({100 * len(flips) / images:.1f} %) get another first answer: "
        f"{overall['lost']} were right and no longer are, {overall['gained']} the other way round."
    )
    if harms["malignancy lost"]:
        images = "1 image" if harms["malignancy lost"] == 1 else f"{harms['malignancy lost']} images"
        yield f"Of malignant lesions, {images} had a malignant class first and now a benign one."


def _subgroups(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    told = [(attribute, record) for attribute, records in found.items() for record in records if record["agreement"]]
    worse = [
        f"{subgroup_name(attribute, record['subgroup'])} ({name} {record[key]['difference']['value']:+.3f})"
        for attribute, record in told
        for key, name in (("balanced_accuracy", "balanced accuracy"), ("malignant_recall", "malignant recall"))
        if record[key] is not None and (record[key]["difference"]["high"] or 0.0) < 0
    ]
    if worse:
        yield (
            f"Among {len(told)} subgroups the whole interval is a loss for {'; '.join(worse)}. Of so many, one may be "
            "so by chance."
        )
    elif told:
        yield f"In none of {len(told)} subgroups with enough lesions is the whole interval a loss."
