"""The report of `spot-edge bench drift`: comparisons with verdicts and subgroups, and flips across models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.across_models import flips_across_models
from spot_bench.drift.comparison import SCHEMA, aligned, compare
from spot_bench.drift.gate import Margins, counts_of, evaluate_drift, resolved
from spot_bench.drift.subgroups import subgroups
from spot_bench.speed.conditions import describe_machine
from spot_bench.stats.intervals import DRAWS
from spot_edge.errors import CheckError, DataError
from spot_edge.model.spec import Verdict, as_data

__all__ = ["drift_report", "group_name", "model_title", "refuse_verdict"]

_USUAL = Margins()
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
    margins: Margins = _USUAL,
    unlabelled: Sequence[Predictions] | None = None,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Compare all `others` with `baseline` on the images of `manifest`, the split `split` of the data set `name`.

    `sizes` are the bytes of the model files, the baseline's first, or None for saved predictions. `latency` is a report
    of `bench latency`, from which the times of the same files are taken. `unlabelled` are the predictions of all
    models, the baseline's first, for further images without labels, which inform only the criterion on flips.
    """
    pairs = [None] * len(others) if unlabelled is None else [(unlabelled[0], each) for each in unlabelled[1:]]
    timed = [_timed(latency, each.model.get("id")) for each in (baseline, *others)]
    if latency is not None and not any(timed):
        raise DataError("the latency report has none of these model files. Time them with `bench latency`")
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "data": {"name": name, "split": split, "images": len(manifest.items)}
        | ({} if unlabelled is None else {"unlabelled": len(unlabelled[0].images)}),
        "margins": _margins(margins),
        "bytes": [size or (time and time["bytes"]) for size, time in zip(sizes, timed, strict=True)],
        "latency": latency
        and {
            **{key: latency[key] for key in ("when", "machine", "conditions")},
            "models": [time and {key: time[key] for key in _OF_TIMES} for time in timed],
        },
        "comparisons": [
            _comparison(baseline, other, manifest, split, margins, pair, draws)
            for other, pair in zip(others, pairs, strict=True)
        ],
        "flips_across_models": flips_across_models(baseline, others, manifest, draws=draws),
    }


def _timed(latency: dict[str, Any] | None, model_id: str | None) -> dict[str, Any] | None:
    """Return the model file's entry in a latency report: the fastest of several configurations."""
    found = [] if latency is None else [one for one in latency["models"] if one["model"]["id"] == model_id]
    return min(found, key=lambda one: float(one["rows_ms"]["total"]["p50"]["value"]), default=None)


def refuse_verdict(report: dict[str, Any], fail_on: str | None) -> None:
    """Raise CheckError if a verdict in `report` is as bad as `fail_on`: "fail", "undecided", or None for never.

    Its message says why in one line: of each such model, the criteria with their bounds.
    """
    if fail_on is None:
        return
    refused: tuple[Verdict, ...] = ("fail",) if fail_on == "fail" else ("fail", "undecided")
    found = [comparison for comparison in report["comparisons"] if comparison["verdict"]["verdict"] in refused]
    if found:
        raise CheckError("; ".join(map(_reason, found)))


def _reason(comparison: dict[str, Any]) -> str:
    verdict = comparison["verdict"]["verdict"]
    pair = f"{model_title(comparison['other'])} against {model_title(comparison['baseline'])}"
    criteria = [c for c in comparison["verdict"]["criteria"] if c["verdict"] == verdict]
    return f"{pair}: {verdict} ({', '.join(_bound(c, counts_of(comparison, c['name'])) for c in criteria)})"


def _bound(criterion: dict[str, Any], counts: str) -> str:
    """Say what decides about a criterion, in points."""
    name, margin = criterion["name"], 100 * criterion["margin"]
    on = f"{counts} of {criterion['n']}: " if counts else ""
    if criterion["verdict"] == "fail":
        return f"{name}: {on}at least {100 * criterion['low']:.1f} points worse, margin {margin:g}"
    needed = f"; about {criterion['would_tell']} needed" if criterion.get("would_tell") else ""
    return f"{name}: {on}up to {100 * criterion['high']:.1f} points worse, margin {margin:g}{needed}"


def group_name(summary: dict[str, Any]) -> str:
    """Return what a group of images is called: a lesion, or a group if no class is marked malignant."""
    return "group" if summary["malignant_auc"]["value"] is None else "lesion"


def model_title(summary: dict[str, Any]) -> str:
    """Return the name and variant of a summary's model."""
    return " ".join(filter(None, (summary["model"].get("name"), summary["model"].get("variant")))) or "a model"


def _margins(margins: Margins) -> dict[str, Any]:
    """Return the margins in force as JSON."""
    names = ("preset", "balanced_accuracy", "recall", "malignant_recall", "agreement", "macro_auc", "ece")
    return {name: getattr(resolved(margins), name) for name in names}


def _comparison(
    baseline: Predictions,
    other: Predictions,
    manifest: Manifest,
    split: str,
    margins: Margins,
    unlabelled: tuple[Predictions, Predictions] | None,
    draws: int,
) -> dict[str, Any]:
    comparison = compare(baseline, other, draws=draws, unlabelled=unlabelled)
    return {
        "verdict": as_data(evaluate_drift(comparison, margins, measured_on=split)),
        **comparison,
        "subgroups": subgroups(baseline, aligned(baseline, other), manifest, draws=draws),
    }
