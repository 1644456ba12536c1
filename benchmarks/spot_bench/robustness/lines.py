"""The report of bursts as lines for a terminal of 80 columns.

What limits of capture quality refuse, as lines for a terminal.

The report of robustness as lines for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.report.tables import align, change, count, figure, percent
from spot_bench.robustness.bursts import FORMS

__all__ = ["bursts_lines", "refusal_lines", "robustness_lines"]

_CONDITIONS = {
    "changing": "every frame has its own place, light, motion, focus and compression",
    "steady": "the frames of a burst share place and light",
}
_ROWS = (
    ("other first rank", "flips"),
    ("  of single's", "flips_of_single"),
    ("other triage", "triage_flips"),
    ("  of single's", "triage_flips_of_single"),
    ("balanced accuracy", "balanced_accuracy"),
)


def bursts_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `bursts.measure_bursts` found, in brackets the 95 % intervals over lesions."""
    record, model = report["bursts"], report["bursts"]["model"]
    near, frames = record["near"], record["frames"]
    yield f"{model['name']} {model['variant']} ({model['runtime']} {model['version']})"
    close = f"first two scores within {near['within']}"
    yield f"{near['images']} of {record['images']} images, of {near['lesions']} lesions: {close}"
    yield f"{record['repeats']} captures of each, of {frames} frames; pairs of captures that differ, in %"
    columns = ["", "single frame", f"sharpest of {frames}", f"burst of {frames}"]
    for found in record["conditions"]:
        yield ""
        yield f"{found['conditions']}: {_CONDITIONS[found['conditions']]}"
        if found["fit"] < 1:
            yield f"fit to be judged: {100 * found['fit']:.1f} % of the frames"
        table = [columns]
        for row, of in _ROWS:
            table.append([row, *(percent(found[form][of]) if of in found[form] else "" for form in FORMS)])
        yield from align(table)
        yield "balanced accuracy less that of single frames"
        yield from align([[form, change(found[form]["balanced_accuracy_difference"])] for form in FORMS[1:]])
    found = record["calibration"]
    yield ""
    yield f"one changing capture of each of the {record['images']} images"
    names = {"ECE": "ece", "Brier": "brier", "balanced accuracy": "balanced_accuracy"}
    table = [["", "single frame", f"burst of {frames} less that"]]
    table += [[row, figure(found["single"][of]), change(found["burst_less_single"][of])] for row, of in names.items()]
    yield from align(table)
    yield from (f"skipped {skipped['reason']}" for skipped in record["skipped"])


_COUNTED = 20  # groups: among fewer, shares by class are told as counts


def refusal_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `refusals.measure_refusals` found, in brackets the 95 % intervals."""
    model, good = report["model"], report["good"]
    yield f"{model['name']} {model['variant']} ({model['runtime']} {model['version']}), {model['id'][:12]}"
    yield f"{good['refused']['n']} good images of {good['refused']['groups']} lesions"
    yield ""
    yield "refused, % of images: by any limit, and the limits that most of them are beyond"
    rows = [["good images", _percent(good["refused"]), _commonest(good["checks"])]]
    rows += [
        [f"  {label}", _percent(share) if share["groups"] >= _COUNTED else _count(share), ""]
        for label, share in good["classes"].items()
    ]
    for record in report["defects"]:
        name = f"{record['severity']} {record['kind']}"
        rows.append([name, _percent(record["refused"]), _commonest(record["checks"])])
    for record in report["others"]:
        rows.append([record["name"], _percent(record["refused"]), _commonest(record["checks"])])
    yield from align(rows)
    yield ""
    yield "told from good images (AUC): by unfamiliarity, and by the first rank's score alone"
    table = [
        [
            record["name"],
            f"n={record['refused']['n']}",
            figure(record["auc_ood"]),
            figure(record["auc_doubt"]),
        ]
        for record in report["others"]
    ]
    yield from align([["", "", "unfamiliarity", "score"], *table])
    yield from (f"not read: {reason}" for record in report["others"] for reason in record["unread"])


def _percent(share: dict[str, Any]) -> str:
    """A share as `1.2 (0.8 to 1.7)`."""
    return f"{100 * share['value']:.1f} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


def _count(share: dict[str, Any]) -> str:
    return count(round(share["value"] * share["n"]), share["n"])


def _commonest(checks: dict[str, Any]) -> str:
    """The two checks that refuse most, with their shares."""
    found = sorted(((share["value"], name) for name, share in checks.items() if share["value"] > 0), reverse=True)
    return ", ".join(f"{name} {100 * value:.1f}" for value, name in found[:2])


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
