"""The report of robustness as lines for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.tables import align, change, figure, percent

__all__ = ["robustness_lines"]


def robustness_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `robustness.measure_robustness` found for each model, in brackets the 95 % intervals over lesions."""
    for record in report["models"]:
        model, rows = record["model"], record["perturbations"]
        rare = next(name for name in rows[0]["flips"] if name != "all")
        yield f"{model['name']} {model['variant']} ({model['runtime']} {model['version']})"
        yield f"{record['images']} images of {record['lesions']} lesions, {rows[0]['flips'][rare]['n']} of them {rare}"
        yield f"balanced accuracy of the untouched pictures {figure(record['balanced_accuracy'])}"
        yield ""
        yield "another first rank, another triage category: % of images"
        table = [["", "first rank", rare, "triage"]]
        table += [
            [_name(row), *map(percent, (row["flips"]["all"], row["flips"][rare], row["triage_changes"]))]
            for row in rows
        ]
        yield from align(table)
        yield ""
        table = [["", "mean |Δ malignant score|", "Δ balanced accuracy"]]
        table += [
            [_name(row), figure(row["mean_abs_malignant_difference"]), change(row["balanced_accuracy_difference"])]
            for row in rows
        ]
        yield from align(table)
        yield from (f"skipped {skipped['reason']}" for skipped in record["skipped"])
        yield ""


def _name(row: dict[str, Any]) -> str:
    return f"{row['kind']} {row['severity']}".strip()
