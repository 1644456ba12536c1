"""The tables of the page: models, criteria, figures, classes, prediction sets, subgroups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.drift.page.html import Cell, changed, lesions_of, measured, named, plain, table
from spot_bench.drift.report import model_title
from spot_bench.drift.subgroups import FEWEST_LESIONS

__all__ = ["classes", "criteria", "errors_at_points", "figures", "overview", "recalls", "sets", "subgroups"]

_FEW = '<span class="few">too few lesions</span>'
_FIGURES = {
    "accuracy": ("accuracy", "top class is right", 1),
    "top2_accuracy": ("top-2 accuracy", "true class is among the top two", 1),
    "top3_accuracy": ("top-3 accuracy", "true class is among the top three", 1),
    "balanced_accuracy": ("balanced accuracy", "mean recall of the classes", 1),
    "macro_auc": ("macro AUC", "mean over classes", 1),
    "malignant_auc": ("malignant AUC", "malignant against benign", 1),
    "ece": ("ECE", "calibration error, 0 is best", -1),
    "brier": ("Brier score", "error of all scores, 0 is best", -1),
    "log_loss": ("log loss", "error of the true score, 0 is best", -1),
}


def overview(report: dict[str, Any]) -> Cell:
    """Show size, time, accuracy and verdict of every model, the baseline first."""
    summaries = [report["comparisons"][0]["baseline"], *(c["other"] for c in report["comparisons"])]
    verdicts = ["baseline", *(c["verdict"]["verdict"] for c in report["comparisons"])]
    times = report["latency"]["models"] if report["latency"] else None
    rows = []
    for index, summary in enumerate(summaries):
        size = report["bytes"][index]
        row = [plain(model_title(summary)), f"{size / 1e6:.2f}" if size else "-"]
        row += [_milliseconds(times[index])] if times else []
        row += [measured(summary[key]) for key in ("accuracy", "balanced_accuracy")]
        rows.append([*row, plain(verdicts[index])])
    heads = ["model", "MB", *(["ms per image"] if times else []), "accuracy", "balanced accuracy", "verdict"]
    return table(heads, rows)


def _milliseconds(time: dict[str, Any] | None) -> Cell:
    if time is None:
        return "-"
    median = time["rows_ms"]["total"]["p50"]
    interval = "" if median["low"] is None else f"<small>{median['low']:.1f} to {median['high']:.1f}</small>"
    threads = f"<small>{time['threads']} thread{'s' if time['threads'] > 1 else ''}</small>"
    steady = "" if time["steady"] else "<small>not steady</small>"
    return f"{median['value']:.1f}{interval}{threads}{steady}"


def criteria(verdict: dict[str, Any]) -> Cell:
    """Show the criteria of the verdict, in percentage points."""
    rows = [
        [
            plain(c["name"]),
            f"{100 * c['worse_by']:+.1f}<small>{100 * c['low']:+.1f} to {100 * c['high']:+.1f}</small>",
            f"{100 * c['margin']:.1f}",
            str(c["n"]),
            plain(c["verdict"])
            + (f"<small>{c['would_tell']:,} lesions would decide</small>" if c["would_tell"] else ""),
        ]
        for c in verdict["criteria"]
    ]
    return table(["points", "worse by", "margin", "lesions", "verdict"], rows)


def _needed(lesions: int | None) -> Cell:
    return f"<small>{lesions:,} lesions would decide</small>" if lesions else ""


def figures(comparison: dict[str, Any]) -> Cell:
    """Show the figures of both models and their differences."""
    own, other, differences = comparison["baseline"], comparison["other"], comparison["differences"]
    rows = []
    for key, (name, explanation, good) in _FIGURES.items():
        if own[key]["value"] is not None:
            change = changed(differences[key], good=good)
            rows.append([named(name, explanation), measured(own[key]), measured(other[key]), change])
    for point, kinds in differences["operating_points"].items():
        rows.append([f"at the operating point {plain(point)}"])
        for kind, difference in kinds.items():
            here, there = (measured(summary["operating_points"][point][kind]) for summary in (own, other))
            rows.append([plain(kind), here, there, changed(difference, good=1)])
    return table(["", "baseline", "this model", "difference"], rows)


def errors_at_points(comparison: dict[str, Any]) -> Cell:
    """Show false alarms and missed malignant lesions, in images."""
    rows = []
    for point, own in comparison["baseline"]["operating_points"].items():
        other = comparison["other"]["operating_points"].get(point)
        if other is None:
            continue
        for key, name in (("type_2_errors", "missed (type II)"), ("type_1_errors", "false alarms (type I)")):
            here, there = own[key]["count"], other[key]["count"]
            shown = named(name, f"{point}, of {own[key]['of']} images")
            rows.append([shown, str(here), str(there), f"{there - here:+d}"])
    return table(["images", "baseline", "this model", "difference"], rows) if rows else ""


def recalls(comparison: dict[str, Any]) -> Cell:
    """Show the recall of each class in both models, or counts for a class with few lesions."""
    rows = []
    for label, own in comparison["baseline"]["classes"].items():
        other, test = comparison["other"]["classes"][label], comparison["mcnemar"]["classes"][label]
        if not own["images"]:
            continue
        if own["lesions"] < FEWEST_LESIONS:
            shown = [f"{record['correct']} of {record['images']}" for record in (own, other)]
            shown.append(f"{other['correct'] - own['correct']:+d}")
        else:
            shown = [measured(record["recall"]) for record in (own, other)]
            shown.append(changed(comparison["differences"]["recall"][label], good=1))
        moved = f"{test['images']['lost']} / {test['images']['gained']}<small>p {test['lesions']['p']:.3f}</small>"
        rows.append([plain(label), lesions_of(own), *shown, moved])
    return table(["class", "lesions", "baseline", "this model", "difference", "lost / gained"], rows)


def classes(comparison: dict[str, Any]) -> Cell:
    """Show precision, specificity and AUC of each class: this model's, with the baseline's below."""
    rows = []
    for label, other in comparison["other"]["classes"].items():
        own = comparison["baseline"]["classes"][label]
        if not own["images"]:
            continue
        keys = ("precision", "specificity", "auc")
        few = own["lesions"] < FEWEST_LESIONS
        shown = [_FEW if few and key != "specificity" else measured(other[key]) + _was(own[key]) for key in keys]
        rows.append([plain(label), str(own["lesions"]), *shown])
    return table(["class", "lesions", "precision", "specificity", "AUC"], rows)


def sets(comparison: dict[str, Any]) -> Cell:
    """Show how often the models' prediction sets include the true class, and how large they are."""
    own, other = comparison["baseline"]["conformal"], comparison["other"]["conformal"]
    if own is None or other is None:
        return ""
    rows = [_set_row("one threshold", own["marginal"], other["marginal"])]
    rows += [
        _set_row("threshold per class", own["by_class"], other["by_class"]),
        ["threshold per class, by true class"],
    ]
    rows += [_set_row(label, record, other["classes"][label]) for label, record in own["classes"].items()]
    return table(["", "target", "coverage", "size"], rows)


def subgroups(comparison: dict[str, Any]) -> Cell:
    """Show the changes by age, sex, site and skin tone."""
    heads = ["", "lesions", "balanced accuracy", "malignant recall", "same top class"]
    return table(heads, _subgroup_rows(comparison["subgroups"]))


def _subgroup_rows(found: dict[str, list[dict[str, Any]]]) -> Iterator[list[Cell]]:
    for attribute, records in found.items():
        yield [plain(attribute.replace("_", " "))]
        for record in records:
            if record["agreement"] is not None:
                changes = [_pair(record[key]) for key in ("balanced_accuracy", "malignant_recall")]
                name = plain(record["subgroup"] or "not stated")
                yield [name, lesions_of(record), *changes, measured(record["agreement"])]
        few = [f"{r['subgroup'] or 'not stated'} ({r['lesions']})" for r in records if r["agreement"] is None]
        if few:
            yield [f"{_FEW} (lesions): {plain(', '.join(few))}"]


def _pair(pair: dict[str, Any] | None) -> Cell:
    """Show a difference, with the old and new value below it."""
    if pair is None:
        return _FEW
    was, now = pair["baseline"]["value"], pair["other"]["value"]
    return changed(pair["difference"], good=1) + f"<small>{was:.3f} → {now:.3f}</small>"


def _set_row(name: str, own: dict[str, Any], other: dict[str, Any]) -> list[Cell]:
    target = f"{own['target']:.2f}" if "target" in own else ""
    if own["covered"]["groups"] < FEWEST_LESIONS:
        return [plain(name), target, _FEW, ""]
    return [plain(name), target, *(measured(other[key]) + _was(own[key]) for key in ("covered", "size"))]


def _was(estimate: dict[str, Any]) -> Cell:
    return "" if estimate["value"] is None else f"<small>baseline {estimate['value']:.3f}</small>"
