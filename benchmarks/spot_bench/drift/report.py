"""The report of `spot-edge bench drift`: comparisons with verdicts and subgroups, and flips across models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.across_models import flips_across_models
from spot_bench.drift.comparison import SCHEMA, aligned, compare
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.drift.subgroups import subgroups
from spot_bench.speed.conditions import describe_machine
from spot_bench.stats.intervals import DRAWS
from spot_edge.errors import CheckError, DataError
from spot_edge.model.spec import Verdict, as_data

__all__ = ["drift_report", "group_name", "model_title", "refuse_verdict"]

_OF_TIMES = ("threads", "delegate", "steady", "rows_ms")


def drift_report(
    baseline: Predictions,
    others: Sequence[Predictions],
    manifest: Manifest,
    *,
    name: str,
    split: str,
    sizes: Sequence[int | None],
    latency: dict[str, Any] | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Compare all `others` with `baseline` on the images of `manifest`, the split `split` of the data set `name`.

    `sizes` are the bytes of the model files, the baseline's first, or None for saved predictions. `latency` is a report
    of `bench latency`, from which the times of the same files are taken. Verdicts use the converter's default margins.
    """
    timed = [_timed(latency, each.model.get("id")) for each in (baseline, *others)]
    if latency is not None and not any(timed):
        raise DataError("the latency report has none of these model files. Time them with `bench latency`")
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "data": {"name": name, "split": split, "images": len(manifest.items)},
        "bytes": [size or (time and time["bytes"]) for size, time in zip(sizes, timed, strict=True)],
        "latency": latency
        and {
            **{key: latency[key] for key in ("when", "machine", "conditions")},
            "models": [time and {key: time[key] for key in _OF_TIMES} for time in timed],
        },
        "comparisons": [_comparison(baseline, other, manifest, split, draws) for other in others],
        "flips_across_models": flips_across_models(baseline, others, manifest, draws=draws),
    }


def _timed(latency: dict[str, Any] | None, model_id: str | None) -> dict[str, Any] | None:
    """Return the model file's entry in a latency report: the fastest of several configurations."""
    found = [] if latency is None else [one for one in latency["models"] if one["model"]["id"] == model_id]
    return min(found, key=lambda one: float(one["rows_ms"]["total"]["p50"]["value"]), default=None)


def refuse_verdict(report: dict[str, Any], fail_on: str | None) -> None:
    """Raise CheckError if a verdict in `report` is as bad as `fail_on`: "fail", "undecided", or None for never."""
    if fail_on is None:
        return
    refused: tuple[Verdict, ...] = ("fail",) if fail_on == "fail" else ("fail", "undecided")
    for comparison in report["comparisons"]:
        verdict = comparison["verdict"]
        if verdict["verdict"] in refused:
            reasons = [c["name"] for c in verdict["criteria"] if c["verdict"] == verdict["verdict"]]
            pair = f"{model_title(comparison['other'])} against {model_title(comparison['baseline'])}"
            raise CheckError(f"{pair}: {verdict['verdict']} ({', '.join(reasons)})")


def group_name(summary: dict[str, Any]) -> str:
    """Return what a group of images is called: a lesion, or a group if no class is marked malignant."""
    return "group" if summary["malignant_auc"]["value"] is None else "lesion"


def model_title(summary: dict[str, Any]) -> str:
    """Return the name and variant of a summary's model."""
    return " ".join(filter(None, (summary["model"].get("name"), summary["model"].get("variant")))) or "a model"


def _comparison(
    baseline: Predictions, other: Predictions, manifest: Manifest, split: str, draws: int
) -> dict[str, Any]:
    comparison = compare(baseline, other, draws=draws)
    return {
        "verdict": as_data(evaluate_drift(comparison, Margins(), measured_on=split)),
        **comparison,
        "subgroups": subgroups(baseline, aligned(baseline, other), manifest, draws=draws),
    }
