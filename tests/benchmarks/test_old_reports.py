"""Reports written before the first release are read with the current names."""

from __future__ import annotations

import json
from pathlib import Path

from spot_bench.drift.comparison import EFFECTS
from spot_bench.drift.lines import model_lines
from spot_bench.drift.page import page
from spot_edge.model.old_names import current_report


def test_the_stored_drift_report(repository: Path) -> None:
    stored = json.loads((repository / "models" / "spot" / "test-report.json").read_text())
    report = current_report(stored)
    assert (stored["data"]["part"], report["data"]["split"]) == ("test", "test")
    (comparison,) = report["comparisons"]
    assert {flip["effect"] for flip in comparison["flips"]} <= set(EFFECTS)
    assert comparison["other"]["conformal"]["marginal"]["target"] == 0.9
    assert comparison["other"]["selective"][0]["accuracy"] == comparison["other"]["accuracy"]
    text = page(report, {})
    assert f"{len(comparison['flips'])} of 1998 images" in text
    assert f"{len(comparison['flips'])} of 1998 images flip" in "\n".join(model_lines(comparison))
    assert current_report(report) == report


def test_conditions_and_steps_of_a_latency_report() -> None:
    stored = {
        "remarks": [],
        "conditions": {"throttled": False, "others": 0.1},
        "picture": {"bytes": 7},
        "needed": {"p50": 6},
        "models": [{"rows_ms": {"judge": {"min": 1}}}],
    }
    assert current_report(stored) == {
        "notes": [],
        "conditions": {"throttled": False, "other_work": 0.1},
        "image": {"bytes": 7},
        "samples_needed": {"p50": 6},
        "models": [{"rows_ms": {"postprocess": {"min": 1}}}],
    }
    assert current_report({"others": [{"name": "noise"}]}) == {"others": [{"name": "noise"}]}  # of `bench quality`


def test_a_class_may_be_called_like_an_old_key() -> None:
    current = {"data": {"split": "test"}, "verdict": "pass", "classes": {"right": {"recall": 1.0}, "trunk": {}}}
    assert current_report(current) == current
