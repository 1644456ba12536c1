"""The report of harm as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from spot_bench.tables import align, count, figure, percent

__all__ = ["harm_lines"]

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
