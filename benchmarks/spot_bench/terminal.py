"""The reports of drift, outside, overhead, folder and soak as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from spot_bench.tables import align, change, count, figure, milliseconds

__all__ = ["drift_lines", "folder_lines", "outside_lines", "overhead_lines", "soak_lines"]

FEW_LESIONS = 30  # classes with fewer are shown as counts: their percentages say less than they seem to
MOST_FLIPS = 5
MOST_NAME = 24  # characters of a subgroup

_NAMES = {
    "accuracy": "accuracy",
    "top2_accuracy": "among first two",
    "top3_accuracy": "among first three",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "malignant AUC",
    "ece": "ECE (15 bins)",
    "brier": "Brier score",
    "log_loss": "log loss",
}


def drift_lines(comparison: dict[str, Any]) -> Iterator[str]:
    """What `drift.compare` found, in brackets the 95 % intervals over lesions."""
    own, other = comparison["baseline"], comparison["other"]
    yield f"{_title(other)} against {_title(own)}, on {own['images']} images of {own['lesions']} lesions"
    yield ""
    yield from _verdict_lines(comparison["verdict"])
    yield ""
    yield from align([["", "baseline", "this model", "difference"], *_figure_rows(comparison)])
    yield ""
    yield "first rank, by true class (recall)"
    heads = ["", "lesions", "baseline", "this model", "difference", "agree", "lost", "gained", "p"]
    yield from align([heads, *_class_rows(comparison)])
    yield "lost, gained: images that only the baseline, only this model ranked right; p: exact McNemar, by lesion"
    yield ""
    if comparison["subgroups"]:
        yield from _subgroup_lines(comparison["subgroups"])
        yield ""
    for name, share in comparison["agreement"].items():
        if name != "classes":
            yield f"same first rank, {name}: {figure(share)} of {share['n']} images"
    yield f"mean |logit difference| {figure(comparison['mean_abs_logit_difference'])}, KL {figure(comparison['kl'])}"
    yield from _flip_lines(comparison["flips"], own["images"])
    for skipped in other["skipped"][:MOST_FLIPS]:
        yield f"skipped {skipped['reason']}"


def overhead_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `overhead.measure_overhead` found."""
    runtime = report["runtime"]
    yield f"{report['model']['name']} in {runtime['name']} {runtime['version']}, {report['machine']['cpu']}"
    yield ""
    rows = [["", "ours ms", "bare ms", "ratio of medians", "of fastest", "n", "target"]]
    names = {
        "call": "classify, against its parts",
        "still": "the same, 12 megapixels",
        "checks": "quality checks, against none",
        "process": "command, against bare process",
    }
    for key, name in names.items():
        ratio = report[key]
        if ratio is None:  # a model without limits checks nothing
            continue
        target = f"{ratio['target']:.2f} {'met' if ratio['met'] else 'missed'}"
        times = [f"{ratio['ours_ms']:.2f}", f"{ratio['bare_ms']:.2f}"]
        rows.append(
            [name, *times, figure(ratio["median"]), f"{ratio['fastest']:.3f}", str(ratio["median"]["n"]), target]
        )
    yield from align(rows)


def folder_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `folder_speed.measure_folder` found."""
    yield f"{report['pictures']} pictures, {report['turns']} turns of each, {report['machine']['cpu']}"
    yield ""
    memory, others = report["memory"], report["conditions"]["others"]
    early = f"peak kB after {memory['early_pictures']}"
    rows = [["", "seconds", "processor ms a picture", early, "at the end"]]
    names = {"alone": "one after the other, one thread", "together": f"default, {report['threads']} processors"}
    for key, name in names.items():
        record = report[key]
        peaks = ["-" if memory[key][when] is None else str(memory[key][when]) for when in ("early_kb", "peak_kb")]
        rows.append([name, f"{record['seconds']:.2f}", f"{record['processor_ms_a_picture']:.2f}", *peaks])
    yield from align(rows)
    verdict = "met" if report["met"] else "missed"
    yield f"times as fast: {figure(report['times_as_fast'])}, of medians; target on two: {report['target']} {verdict}"
    if others is not None:
        yield f"other work took {100 * others:.0f} % of the processors' time"


def soak_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `soak.soak` found."""
    from spot_bench.soak import SLOWEST

    runtime, settled = report["runtime"], report["settled"]
    yield f"{report['model']['name']} in {runtime['name']} {runtime['version']}, {report['machine']['cpu']}"
    yield f"{report['pictures']} pictures in one process, {report['refused']} refused; all after the first {settled}:"
    yield ""
    rows = [["", "first", "most", "last", "grown", "limit", "looks"]]
    for key, name, unit, least in (
        ("resident", "resident memory, MB", 1e6, ".2f"),
        ("anonymous", "of it in no file, MB", 1e6, ".2f"),
        ("descriptors", "open descriptors", 1, ".0f"),
    ):
        found = report[key] or dict.fromkeys(("first", "most", "last", "grown", "limit", "n"))
        cells = [found[part] for part in ("first", "most", "last", "grown", "limit")]
        shown = ["-" if value is None else f"{value / unit:{least}}" for value in cells]
        rows.append([name, *shown, str(found["n"] or "-")])
    yield from align(rows)
    yield ""
    rows = [["milliseconds a picture", "p50", "p99", "p99/p50", "limit", "n"]]
    for key, name in {"wall": "by the wall's clock", "processor": "of processors, all threads"}.items():
        found = report[key]
        parts = [milliseconds(found["p50"]), milliseconds(found["p99"])]
        ratio = "-" if found["ratio"] is None else f"{found['ratio']:.2f}"
        limit = f"{SLOWEST:.2f}" if report["judged"] == key else "-"
        rows.append([name, *parts, ratio, limit, str(found["p50"]["n"])])
    yield from align(rows)
    if report["judged"] == "processor":
        yield f"other work took {100 * report['others']:.0f} % of the processors' time: the wall's is not judged"


def outside_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `outside.one_class` found, in brackets the 95 % intervals."""
    data = report["data"]
    yield f"{_title(report)} on {data['images']} images of {data['name']}, {data['positive']} of {report['positive']}"
    yield ""
    rows = [["", "AUC", "sensitivity", "specificity"]]
    rows.append([f"score of {report['class']}", figure(report["auc"]), "", ""])
    rows.append(["malignant score", figure(report["malignant_auc"]), "", ""])
    first = report["first_rank"]
    rows.append([f"{report['class']} ranked first", "", figure(first["sensitivity"]), figure(first["specificity"])])
    rows += [
        [f"point {point['name']}", "", figure(point["sensitivity"]), figure(point["specificity"])]
        for point in report["operating_points"]
    ]
    yield from align(rows)


def _title(summary: dict[str, Any]) -> str:
    model = summary["model"]
    runtime = f"({model['runtime']} {model['version']})" if "runtime" in model else ""
    return " ".join(filter(None, (model.get("name"), model.get("variant"), runtime))) or "model"


def _figure_rows(comparison: dict[str, Any]) -> Iterator[list[str]]:
    own, other, differences = comparison["baseline"], comparison["other"], comparison["differences"]
    for key, name in _NAMES.items():
        if own[key]["value"] is not None:
            yield [name, figure(own[key]), figure(other[key]), change(differences[key])]
    for point, kinds in differences["operating_points"].items():
        for kind, difference in kinds.items():
            here, there = (summary["operating_points"][point][kind] for summary in (own, other))
            yield [f"{point}: {kind}", figure(here), figure(there), change(difference)]


def _class_rows(comparison: dict[str, Any]) -> Iterator[list[str]]:
    for label, own in comparison["baseline"]["classes"].items():
        other = comparison["other"]["classes"][label]
        if not own["images"]:
            continue
        shares = comparison["agreement"]["classes"][label]["value"]
        row = [label, str(own["lesions"])]
        if own["lesions"] < FEW_LESIONS:
            row += [count(record["correct"], record["images"]) for record in (own, other)]
            row.append(f"{other['correct'] - own['correct']:+d}")
        else:
            row += [figure(record["recall"]) for record in (own, other)]
            row.append(change(comparison["differences"]["recall"][label]))
        test = comparison["mcnemar"]["classes"][label]
        moved = [str(test["images"]["lost"]), str(test["images"]["gained"]), f"{test['lesions']['p']:.3f}"]
        yield [*row, f"{100 * shares:.1f} %", *moved]


def _subgroup_lines(found: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    rows, few = [["", "lesions", "balanced accuracy", "malignant recall", "agree"]], []
    for attribute, records in found.items():
        for record in records:
            name = f"{attribute.replace('_', ' ')} {record['subgroup'] or 'not stated'}"
            if record["agreement"] is None:
                few.append(f"{name} ({record['lesions']})")
                continue
            pairs = [record[key] for key in ("balanced_accuracy", "malignant_recall")]
            changes = ["too few to tell" if pair is None else change(pair["difference"]) for pair in pairs]
            name = name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"
            rows.append([name, str(record["lesions"]), *changes, figure(record["agreement"])])
    yield "subgroups: this model less the baseline"
    yield from align(rows)
    if few:
        yield from textwrap.wrap(f"too few to tell (lesions): {', '.join(few)}", 120)


def _verdict_lines(verdict: dict[str, Any]) -> Iterator[str]:
    yield f"no worse than the baseline, by the converter's margins: {verdict['verdict']}"
    rows = [["", "worse by, points", "margin", "lesions", ""]]
    for c in verdict["criteria"]:
        worse = f"{100 * c['worse_by']:+.1f} ({100 * c['low']:+.1f} to {100 * c['high']:+.1f})"
        told = f"; {c['would_tell']} lesions would tell" if c["would_tell"] else ""
        rows.append([f"  {c['name']}", worse, f"{100 * c['margin']:.1f}", str(c["n"]), c["verdict"] + told])
    yield from align(rows)


def _flip_lines(flips: list[dict[str, Any]], images: int) -> Iterator[str]:
    yield f"{len(flips)} of {images} images changed their first rank" + (", worst first:" if flips else "")
    for flip in flips[:MOST_FLIPS]:
        before, after = (f"{flip[key]['label']} {flip[key]['score']:.2f}" for key in ("baseline", "other"))
        yield f"  {flip['image']} ({flip['label']}): {before} -> {after}, {flip['harm']}"
