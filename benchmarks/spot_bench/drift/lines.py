"""The reports of drift, outside, overhead, folder and soak as lines for a terminal.

The report of harm as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from spot_bench.report.tables import align, change, count, figure, milliseconds, percent

__all__ = ["drift_lines", "folder_lines", "harm_lines", "outside_lines", "overhead_lines", "soak_lines"]

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
    from spot_bench.speed.soak import SLOWEST

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


_WIDTH = 100
MOST_IMAGES = 5


def harm_lines(report: dict[str, Any]) -> Iterator[str]:
    """What `harm.harm_report` found, in brackets the 95 % intervals over lesions."""
    data, files, together = report["data"], report["files"], report["together"]
    many = f"{len(files)} compressed files" if len(files) > 1 else files[0]["name"]
    yield f"{many} against float32, on {data['images']} images of {data['lesions']} lesions"
    yield ""
    yield "another first rank: what became of it, and of the triage category"
    heads = [
        "",
        "images",
        "% of all",
        "malignancy lost",
        "now wrong",
        "still",
        "now right",
        "p",
        "triage",
        "less urgent",
    ]
    yield from align([heads, *map(_changes, files)])
    yield "p: exact McNemar of right answers lost and gained, by lesion; less urgent: malignant images alone"
    yield ""
    yield "does the answer say so? of the images flipped, by the compressed file's own answer"
    limits = [each["below"] for each in report["baseline"]["margin_below"]]
    yield from align(
        [["", *(f"first two within {limit:g}" for limit in limits), "both classes in the set"], *map(_told, files)]
    )
    yield "of all images it would flag, %"
    yield from align([["", *(f"within {limit:g}" for limit in limits), "first two in the set"], *map(_flagged, files)])
    yield ""
    yield from _together(together, [file["name"] for file in files])
    name = "the mean of all files" if len(files) > 1 else files[0]["name"]
    yield from _concentration(name, together["concentration"])


def _changes(file: dict[str, Any]) -> list[str]:
    harm, triage = file["by_harm"], file["triage"]
    urgent = triage and triage["malignant_less_urgent"]
    return [
        file["name"],
        str(sum(harm.values())),
        percent(file["flips"]),
        *map(str, harm.values()),
        f"{file['right']['lesions']['p']:.3f}",
        percent(triage["changed"]) if triage else "-",
        count(urgent["count"], urgent["of"]) if urgent else "-",
    ]


def _told(file: dict[str, Any]) -> list[str]:
    told = file["told"]
    shares = [_of(each["flips"]) for each in told["margin_below"]]
    return [file["name"], *shares, _of(told["set"]["both_classes"]) if told["set"] else "-"]


def _flagged(file: dict[str, Any]) -> list[str]:
    told = file["told"]
    shares = [percent(each["flagged"]) for each in told["margin_below"]]
    return [file["name"], *shares, percent(told["set"]["first_two_of_all"]) if told["set"] else "-"]


def _together(together: dict[str, Any], names: list[str]) -> Iterator[str]:
    if together["exemplars"] is None:
        return
    found, told = together["exemplars"], together["told"]
    chances = [_range(found["by_chance"][key], ".0f") for key in ("any_images", "as_near_a_tie")]
    yield f"flipped by at least half of the files: {found['count']} images; by chance {chances[0]},"
    yield f"  among images that are as near a tie {chances[1]}"
    near = [f"{_of(each)} below {each['below']:g}" for each in told["baseline_margin_below"]]
    yield f"  float32's first two scores apart: {', '.join(near)}"
    if told["both_classes"]:
        yield f"  both classes in the set of the file that flips: {_of(told['both_classes'])} answers"
    for image in together["images"][:MOST_IMAGES]:
        changed = ", ".join(f"{label} in {name}" for name, label in image["files"].items())
        words = f"  {image['image']} ({image['label']}): {image['baseline']} by {image['margin']:.3f}; {changed}"
        yield from textwrap.wrap(words, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    yield ""
    yield "the same images? both of either (Jaccard)"
    rows = [["", "both", "either", "alike", "by chance", "as near a tie"]]
    for pair in together["pairs"]:
        chances = [_range(pair["by_chance"][key], ".2f") for key in ("any_images", "as_near_a_tie")]
        a, b = (names[number] for number in pair["files"])
        rows.append([f"{a}, {b}", str(pair["both"]), str(pair["either"]), figure(pair["jaccard"]), *chances])
    yield from align(rows)
    yield ""


def _concentration(name: str, found: dict[str, Any]) -> Iterator[str]:
    yield f"on whom it falls ({name}): how often flipped, and times the rest"
    rows = [["", "lesions", "%", "times the rest", "p, Holm", "of the same margin", "p, Holm"]]
    few = []
    for row in found["subgroups"]:
        label = f"{row['column'].replace('_', ' ')} {row['subgroup'] or 'not stated'}"
        if row["rate"] is None:
            few.append(f"{label} ({row['flips']:.3g} of {row['images']})")
            continue
        ratios = [_ratio(row["ratio"]), f"{row['p_holm']:.3f}"]
        held = [_ratio(row["ratio_same_margin"]), f"{row['p_same_margin_holm']:.3f}"]
        rows.append([label, str(row["lesions"]), percent(row["rate"]), *ratios, *held])
    yield from align(rows)
    if few:
        yield from textwrap.wrap(f"too few lesions to tell (flips of images): {', '.join(few)}", _WIDTH)
    yield (
        f"{found['looked_at']} subgroups looked at: {found['expected_below_.05']:.1f} would have p below .05 "
        "by chance; Holm's p allows for that"
    )


def _ratio(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    low, high = ("?" if estimate[key] is None else f"{estimate[key]:.2f}" for key in ("low", "high"))
    return f"{estimate['value']:.2f} ({low} to {high})"


def _of(found: dict[str, int]) -> str:
    return count(found["count"], found["of"])


def _range(chance: dict[str, float | None], form: str) -> str:
    if chance["mean"] is None:
        return "-"
    return f"{chance['mean']:{form}} ({chance['low']:{form}} to {chance['high']:{form}})"
