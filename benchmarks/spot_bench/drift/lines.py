"""Format the reports of drift and external for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from spot_bench.drift.gate import counts_of, more_images
from spot_bench.drift.report import group_name
from spot_bench.report.tables import align, change, count, figure, percent, points
from spot_edge.prediction.prediction import NEAR_TIE

__all__ = ["across_models_lines", "drift_lines", "external_lines", "model_lines"]

FEW_LESIONS = 30  # classes with fewer are shown as counts
MOST_IMAGES = 5
MOST_NAME = 24  # characters of a subgroup

_NAMES = {
    "accuracy": "accuracy",
    "top2_accuracy": "top-2 accuracy",
    "top3_accuracy": "top-3 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "malignant AUC",
    "ece": "ECE (15 bins)",
    "brier": "Brier score",
    "log_loss": "log loss",
}


def drift_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `drift_report`; in parentheses, 95 % intervals over lesions."""
    for comparison in report["comparisons"]:
        yield from model_lines(comparison)
        yield ""
    yield from across_models_lines(report["flips_across_models"], group_name(report["comparisons"][0]["baseline"]))


def model_lines(comparison: dict[str, Any]) -> Iterator[str]:
    """Format the comparison of one model with the baseline."""
    own, other = comparison["baseline"], comparison["other"]
    name = group_name(own)
    yield f"{_title(other)} against {_title(own)}, on {own['images']} images of {own['lesions']} {name}s"
    yield ""
    yield from _verdict_lines(comparison, name)
    yield ""
    yield from align([["", "baseline", "this model", "difference"], *_figure_rows(comparison)])
    yield ""
    yield "top class, by true class (recall)"
    heads = ["", f"{name}s", "baseline", "this model", "difference", "agree", "lost", "gained", "p"]
    yield from align([heads, *_class_rows(comparison)])
    yield f"lost, gained: images that only the baseline, only this model gets right; p: exact McNemar, by {name}"
    yield ""
    if comparison["subgroups"]:
        yield from _subgroup_lines(comparison["subgroups"], name)
        yield ""
    for images, share in comparison["agreement"].items():
        if images != "classes":
            yield f"same top class, {images}: {figure(share)} of {share['n']} images"
    yield f"mean |logit difference| {figure(comparison['mean_abs_logit_difference'])}, KL {figure(comparison['kl'])}"
    yield from _flip_lines(comparison["flips"], own["images"])
    for skipped in other["skipped"][:MOST_IMAGES]:
        yield f"skipped {skipped['reason']}"


def external_lines(report: dict[str, Any]) -> Iterator[str]:
    """Format the report of `one_vs_rest`; in parentheses, 95 % intervals."""
    data = report["data"]
    positive = f"{data['positive']} of them {report['positive']}"
    yield f"{_title(report)} on {data['images']} images of {data['name']}, {positive}"
    yield ""
    rows = [["", "AUC", "sensitivity", "specificity"]]
    rows.append([f"score of {report['class']}", figure(report["auc"]), "", ""])
    rows.append(["malignant score", figure(report["malignant_auc"]), "", ""])
    top = report["top_class"]
    rows.append([f"top class {report['class']}", "", figure(top["sensitivity"]), figure(top["specificity"])])
    rows += [
        [f"operating point {point['name']}", "", figure(point["sensitivity"]), figure(point["specificity"])]
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


def _subgroup_lines(found: dict[str, list[dict[str, Any]]], group: str) -> Iterator[str]:
    names = {"balanced_accuracy": "balanced accuracy", "malignant_recall": "malignant recall"}
    if group != "lesion":
        del names["malignant_recall"]
    rows, few = [["", f"{group}s", *names.values(), "agree"]], []
    for attribute, records in found.items():
        for record in records:
            name = f"{attribute.replace('_', ' ')} {record['subgroup'] or 'not stated'}"
            if record["agreement"] is None:
                few.append(f"{name} ({record['lesions']})")
                continue
            pairs = [record[key] for key in names]
            changes = [f"too few {group}s" if pair is None else change(pair["difference"]) for pair in pairs]
            name = name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"
            rows.append([name, str(record["lesions"]), *changes, figure(record["agreement"])])
    yield "subgroups: this model minus the baseline"
    yield from align(rows)
    if few:
        yield from textwrap.wrap(f"too few {group}s: {', '.join(few)}", 120)


def _verdict_lines(comparison: dict[str, Any], group: str) -> Iterator[str]:
    verdict = comparison["verdict"]
    yield f"no worse than the baseline, within the margins: {verdict['verdict']}"
    rows = [["", "worse by, points", "margin", f"{group}s", "", ""]]
    for c in verdict["criteria"]:
        worse = f"{points(c['worse_by'])} ({points(c['low'])} to {points(c['high'])})"
        counts = counts_of(comparison, c["name"])
        hint = f"; {c['would_tell']} {group}s needed" if c["would_tell"] else ""
        rows.append([f"  {c['name']}", worse, f"{100 * c['margin']:.1f}", str(c["n"]), counts, c["verdict"] + hint])
    yield from align(rows)
    if verdict["verdict"] == "undecided":
        yield from textwrap.wrap(more_images(comparison, group), 120)


def _flip_lines(flips: list[dict[str, Any]], images: int) -> Iterator[str]:
    yield f"{len(flips)} of {images} images flip" + (", worst first:" if flips else "")
    for flip in flips[:MOST_IMAGES]:
        before, after = (f"{flip[key]['label']} {flip[key]['score']:.2f}" for key in ("baseline", "other"))
        yield f"  {flip['image']} ({flip['label']}): {before} -> {after}, {flip['effect']}"


_WIDTH = 100


def across_models_lines(report: dict[str, Any], group: str = "lesion") -> Iterator[str]:
    """Format the report of `flips_across_models`; in parentheses, 95 % intervals over lesions."""
    models, together = report["models"], report["together"]
    yield "flips and their effects"
    effects = [each for each in models[0]["by_effect"] if group == "lesion" or each != "malignancy lost"]
    heads = ["", "flips", "% of all", *effects, "p"]
    yield from align([heads, *(_changes(model, effects) for model in models)])
    yield f"p: exact McNemar of correct top classes lost and gained, by {group}"
    yield ""
    if any(model["triage"] for model in models):
        yield "changes of the triage category"
        heads = ["", "% of all", "of malignant images, less urgent"]
        yield from align([heads, *(_triage(model) for model in models if model["triage"])])
        yield ""
    yield f"flips that the model's own prediction marks: as a near tie (device: margin below {NEAR_TIE:g}), or with"
    yield "both classes in its prediction set"
    limits = [each["below"] for each in report["baseline"]["margin_below"]]
    yield from align([["", *(f"margin below {limit:g}" for limit in limits), "both in set"], *map(_near_tie, models)])
    yield "% of all images that this would mark"
    yield from align([["", *(f"margin below {limit:g}" for limit in limits), "top two in set"], *map(_flagged, models)])
    yield ""
    if together is None:
        yield from _concentration(models[0]["name"], models[0]["concentration"], group)
    else:
        yield from _together(together, [model["name"] for model in models])
        yield from _concentration("mean of all models", together["concentration"], group)


def _changes(model: dict[str, Any], effects: list[str]) -> list[str]:
    found = model["by_effect"]
    counts = [str(sum(found.values())), percent(model["flips"]), *(str(found[each]) for each in effects)]
    return [model["name"], *counts, f"{model['correct']['lesions']['p']:.3f}"]


def _triage(model: dict[str, Any]) -> list[str]:
    return [model["name"], percent(model["triage"]["changed"]), _of(model["triage"]["malignant_less_urgent"])]


def _near_tie(model: dict[str, Any]) -> list[str]:
    found = model["near_tie"]
    shares = [_of(each["flips"]) for each in found["margin_below"]]
    return [model["name"], *shares, _of(found["prediction_set"]["both_classes"]) if found["prediction_set"] else "-"]


def _flagged(model: dict[str, Any]) -> list[str]:
    found = model["near_tie"]
    shares = [percent(each["flagged"]) for each in found["margin_below"]]
    both = found["prediction_set"]
    return [model["name"], *shares, percent(both["top_two_of_all"]) if both else "-"]


def _together(together: dict[str, Any], names: list[str]) -> Iterator[str]:
    found, ties = together["exemplars"], together["near_tie"]
    chances = [_range(found["by_chance"][key], ".0f") for key in ("any_images", "same_margin")]
    yield f"flipped by at least half of the models: {found['count']} images; by chance {chances[0]},"
    yield f"  among images with the same margin {chances[1]}"
    near = [f"{_of(each)} below {each['below']:g}" for each in ties["baseline_margin_below"]]
    yield f"  margin in the baseline: {', '.join(near)}"
    if ties["both_classes"]:
        yield f"  both classes in the prediction set of the model that flips: {_of(ties['both_classes'])} predictions"
    for image in together["images"][:MOST_IMAGES]:
        changed = ", ".join(f"{label} in {name}" for name, label in image["models"].items())
        words = f"  {image['image']} ({image['label']}): {image['baseline']} by {image['margin']:.3f}; {changed}"
        yield from textwrap.wrap(words, _WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    yield ""
    yield "do models flip the same images? both of either (Jaccard)"
    rows = [["", "both", "either", "similarity", "by chance", "same margin"]]
    for pair in together["pairs"]:
        chances = [_range(pair["by_chance"][key], ".2f") for key in ("any_images", "same_margin")]
        a, b = (names[number] for number in pair["models"])
        rows.append([f"{a}, {b}", str(pair["both"]), str(pair["either"]), figure(pair["jaccard"]), *chances])
    yield from align(rows)
    yield ""


def _concentration(name: str, found: dict[str, Any], group: str) -> Iterator[str]:
    yield f"on whom flips fall ({name}): flip rate, and its ratio to the rest"
    rows = [["", f"{group}s", "%", "ratio", "p, Holm", "ratio, same margin", "p, Holm"]]
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
        yield from textwrap.wrap(f"too few {group}s (flips of images): {', '.join(few)}", _WIDTH)
    yield (
        f"{found['tested']} subgroups tested: by chance {found['expected_below_.05']:.1f} have an uncorrected p below "
        ".05. Holm's p corrects for that"
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
