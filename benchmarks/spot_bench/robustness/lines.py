"""Format the reports of robustness, quality and burst for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.report.tables import align, change, count, figure, percent
from spot_bench.robustness.bursts import FORMS

__all__ = ["bursts_lines", "quality_lines", "robustness_lines"]

_CONDITIONS = {
    "changing": "position, light, motion, focus and compression vary",
    "steady": "the frames of a burst share position and light",
}
_ROWS = (
    ("flips", "flips"),
    ("  vs single frame", "flips_relative_to_single"),
    ("triage changes", "triage_flips"),
    ("  vs single frame", "triage_flips_relative_to_single"),
    ("balanced accuracy", "balanced_accuracy"),
)


def bursts_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `measure_bursts`; in parentheses, 95 % intervals over lesions."""
    record, model = report["bursts"], report["bursts"]["model"]
    near, frames = record["near"], record["frames"]
    yield f"{model['name']} {model['variant']} ({model['runtime']} {model['version']})"
    close = f"two highest scores within {near['within']}"
    yield f"{near['images']} of {record['images']} images, of {near['lesions']} lesions: {close}"
    yield f"{record['repeats']} captures of each, {frames} frames each; % of pairs that differ"
    columns = ["", "single frame", f"sharpest of {frames}", f"burst of {frames}"]
    for found in record["conditions"]:
        yield ""
        yield f"{found['conditions']}: {_CONDITIONS[found['conditions']]}"
        if found["usable"] < 1:
            yield f"{100 * found['usable']:.1f} % of the frames pass the image quality checks"
        table = [columns]
        for row, of in _ROWS:
            table.append([row, *(percent(found[form][of]) if of in found[form] else "" for form in FORMS)])
        yield from align(table)
        yield "balanced accuracy minus that of single frames"
        yield from align([[form, change(found[form]["balanced_accuracy_difference"])] for form in FORMS[1:]])
    found = record["calibration"]
    yield ""
    yield f"one changing capture of each of the {record['images']} images"
    names = {"ECE": "ece", "Brier": "brier", "balanced accuracy": "balanced_accuracy"}
    table = [["", "single frame", f"burst of {frames}, change"]]
    table += [[row, figure(found["single"][of]), change(found["burst_minus_single"][of])] for row, of in names.items()]
    yield from align(table)
    yield from (f"skipped {skipped['reason']}" for skipped in record["skipped"])


_FEWEST_GROUPS = 20  # with fewer, shares by class are shown as counts


def quality_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `measure_refusals`; in parentheses, 95 % intervals."""
    model, good = report["model"], report["good"]
    yield f"{model['name']} {model['variant']} ({model['runtime']} {model['version']}), {model['id'][:12]}"
    yield f"{good['refused']['n']} good images of {good['refused']['groups']} lesions"
    yield ""
    yield "% of images refused by any check, and the checks that refuse most"
    rows = [["good images", _percent(good["refused"]), _most_frequent(good["checks"])]]
    rows += [
        [f"  {label}", _percent(share) if share["groups"] >= _FEWEST_GROUPS else _count(share), ""]
        for label, share in good["classes"].items()
    ]
    for record in report["defects"]:
        name = f"{record['severity']} {record['kind']}"
        rows.append([name, _percent(record["refused"]), _most_frequent(record["checks"])])
    for record in report["others"]:
        rows.append([record["name"], _percent(record["refused"]), _most_frequent(record["checks"])])
    yield from align(rows)
    yield ""
    yield "separation from good images (AUC), by OOD distance and by top score"
    table = [
        [
            record["name"],
            f"n={record['refused']['n']}",
            figure(record["auc_ood"]),
            figure(record["auc_top_score"]),
        ]
        for record in report["others"]
    ]
    yield from align([["", "", "OOD distance", "top score"], *table])
    yield from (f"unreadable: {reason}" for record in report["others"] for reason in record["unreadable"])


def _percent(share: dict[str, Any]) -> str:
    """Format a share as `1.2 (0.8 to 1.7)`."""
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


def _count(share: dict[str, Any]) -> str:
    return count(round(share["value"] * share["n"]), share["n"])


def _most_frequent(checks: dict[str, Any]) -> str:
    """Name the two checks that refuse most, with their shares."""
    found = sorted(((share["value"], name) for name, share in checks.items() if share["value"] > 0), reverse=True)
    return ", ".join(f"{name} {100 * value:.1f}" for value, name in found[:2])


def robustness_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `measure_robustness`; in parentheses, 95 % intervals over lesions."""
    for record in report["models"]:
        model, rows = record["model"], record["perturbations"]
        rare = next(name for name in rows[0]["flips"] if name != "all")
        yield f"{model['name']} {model['variant']} ({model['runtime']} {model['version']})"
        yield f"{record['images']} images of {record['lesions']} lesions, {rows[0]['flips'][rare]['n']} of them {rare}"
        yield f"balanced accuracy on unchanged images {figure(record['balanced_accuracy'])}"
        yield ""
        yield "flips and changed triage categories, % of images"
        table = [["", "flips", rare, "triage"]]
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
