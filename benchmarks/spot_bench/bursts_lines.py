"""The report of bursts as lines for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spot_bench.bursts import FORMS
from spot_bench.tables import align, change, figure, percent

__all__ = ["bursts_lines"]

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
