"""The table that ends a conversion: what each file is, how far it drifted from float32, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from spot_bench.report.tables import align
from spot_bench.stats import metrics
from spot_bench.stats.intervals import bootstrap

if TYPE_CHECKING:
    from spot_convert.checks.fitting import Converted
    from spot_edge.model.spec import Criterion, Drift

__all__ = ["family_table"]


def family_table(made: Sequence[Converted]) -> str:
    """One row a file, and below it what each criterion of the gate says, with the bound that decides."""
    rows = [
        [
            "file",
            "made by, runs in",
            "MB",
            "MB compressed",
            "balanced accuracy on validation",
            "same first rank as float32",
            "verdict",
        ]
    ]
    for converted in made:
        spec, validation = converted.model.spec, converted.validation
        balanced = bootstrap(metrics.balanced_accuracy, validation.groups, validation.truth, validation.scores)
        rows.append(
            [
                converted.model.name,
                f"{converted.engine}, {spec.measured_in.runtime}",
                f"{len(converted.model.content) / 1e6:.2f}",
                f"{converted.compressed_bytes / 1e6:.2f}",
                f"{balanced.value:.3f} ({balanced.low:.3f} to {balanced.high:.3f})",
                _agreement(converted.comparison),
                spec.drift.verdict if spec.drift else "the baseline",
            ]
        )
    lines = align(rows)
    for converted in made:
        if (drift := converted.model.spec.drift) is not None:
            lines += ["", *_drift_lines(converted.model.name, drift)]
    return "\n".join(lines)


def _agreement(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return ""
    shares = [
        f"{100 * share['value']:.1f} %{f' ({name})' if name != 'all' else ''}"
        for name, share in comparison["agreement"].items()
        if name != "classes" and share["value"] is not None
    ]
    return ", ".join(shares)


def _drift_lines(name: str, drift: Drift) -> Iterator[str]:
    yield f"{name}: {drift.verdict}"
    rows = [["criterion", "worse by, points", "at most", "lesions", "verdict"]]
    rows += [
        [
            criterion.name,
            f"{100 * criterion.worse_by:+.2f} ({100 * criterion.low:+.2f} to {100 * criterion.high:+.2f})",
            f"{100 * criterion.margin:g}",
            str(criterion.n),
            _verdict(criterion),
        ]
        for criterion in drift.criteria
    ]
    yield from (f"  {line}" for line in align(rows))


def _verdict(criterion: Criterion) -> str:
    return criterion.verdict + (f": {criterion.would_tell} would tell" if criterion.would_tell else "")
