"""The report of `spot-edge bench drift`: every comparison with its verdict and its subgroups, as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.comparison import SCHEMA, aligned, compare
from spot_bench.drift.gate import Margins, judge_drift
from spot_bench.drift.subgroups import subgroups
from spot_bench.speed.conditions import describe_machine
from spot_bench.stats.intervals import DRAWS
from spot_edge.errors import CheckError, DataError
from spot_edge.model.spec import Verdict, as_data

__all__ = ["called", "drift_report", "refuse_verdict"]

_OF_TIMES = ("threads", "delegate", "steady", "rows_ms")


def drift_report(
    baseline: Predictions,
    others: Sequence[Predictions],
    manifest: Manifest,
    *,
    name: str,
    part: str,
    sizes: Sequence[int | None],
    latency: dict[str, Any] | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """All `others` against `baseline` on images of `manifest`, which is called `name` and is the part `part` of it.

    `sizes` are the bytes of the model files, the baseline's first; None where only predictions were given. `latency` is
    a report of `bench latency`, from which the same files' times are taken. Verdicts are the converter's, with its
    default margins.
    """
    timed = [_timed(latency, answers.model.get("id")) for answers in (baseline, *others)]
    if latency is not None and not any(timed):
        raise DataError("the latency report knows none of these model files: time them with `bench latency`")
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "data": {"name": name, "part": part, "images": len(manifest.items)},
        "bytes": [size or (time and time["bytes"]) for size, time in zip(sizes, timed, strict=True)],
        "latency": latency
        and {
            **{key: latency[key] for key in ("when", "machine", "conditions")},
            "models": [time and {key: time[key] for key in _OF_TIMES} for time in timed],
        },
        "comparisons": [_comparison(baseline, other, manifest, part, draws) for other in others],
    }


def _timed(latency: dict[str, Any] | None, model_id: str | None) -> dict[str, Any] | None:
    """The model file's entry in a latency report: its fastest, where it was run in several ways."""
    found = [] if latency is None else [one for one in latency["models"] if one["model"]["id"] == model_id]
    return min(found, key=lambda one: float(one["rows_ms"]["total"]["p50"]["value"]), default=None)


def refuse_verdict(report: dict[str, Any], fail_on: str | None) -> None:
    """CheckError where a verdict in `report` is as bad as `fail_on`: "fail", "undecided", or None for never."""
    if fail_on is None:
        return
    refused: tuple[Verdict, ...] = ("fail",) if fail_on == "fail" else ("fail", "undecided")
    for comparison in report["comparisons"]:
        verdict = comparison["verdict"]
        if verdict["verdict"] in refused:
            undone = [c["name"] for c in verdict["criteria"] if c["verdict"] == verdict["verdict"]]
            raise CheckError(
                f"{called(comparison['other'])} against {called(comparison['baseline'])}: {verdict['verdict']} "
                f"({', '.join(undone)})"
            )


def called(summary: dict[str, Any]) -> str:
    """The name and variant of a summary's model."""
    return " ".join(filter(None, (summary["model"].get("name"), summary["model"].get("variant")))) or "a model"


def _comparison(baseline: Predictions, other: Predictions, manifest: Manifest, part: str, draws: int) -> dict[str, Any]:
    comparison = compare(baseline, other, draws=draws)
    return {
        "verdict": as_data(judge_drift(comparison, Margins(), measured_on=part)),
        **comparison,
        "subgroups": subgroups(baseline, aligned(baseline, other), manifest, draws=draws),
    }
