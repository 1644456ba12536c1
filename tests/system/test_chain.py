"""The whole chain as a user walks it: made-up pictures → train → convert → bench → spot-edge classify."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from spot_bench.data.drawn import draw_shapes


def spot_edge(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spot_edge.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_model_trained_on_shapes_tells_new_shapes_apart(shapes_family: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "new", per_class=20, seed=77)
    done = spot_edge("classify", tmp_path / "new", "--model", shapes_family / "shapes-int8.tflite", "--json")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    right = sum(Path(a["source"]["name"]).parent.name == a["ranked"][0]["label"] for a in answers)
    assert len(answers) == 60
    assert right >= 42  # guessing gives 20


def test_drift_compares_the_family_on_its_test_part(shapes_run: Path, shapes: Path, shapes_family: Path) -> None:
    done = spot_edge(
        "bench", "drift", shapes_family / "shapes-int8.tflite", "--baseline", shapes_family / "shapes-float32.tflite",
        "--data", shapes_run / "split.csv", "--root", shapes, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    comparison = json.loads(done.stdout)["comparisons"][0]
    assert comparison["agreement"]["all"]["value"] >= 0.7
    assert comparison["other"]["images"] == len(
        [row for row in (shapes_run / "split.csv").read_text().splitlines() if row.endswith(",test")]
    )


def test_drift_of_a_model_against_itself_is_nothing(shapes_run: Path, shapes: Path, shapes_family: Path) -> None:
    model = shapes_family / "shapes-int8.tflite"
    done = spot_edge(
        "bench", "drift", model, "--baseline", model, "--data", shapes_run / "split.csv", "--root", shapes, "--json"
    )
    comparison = json.loads(done.stdout)["comparisons"][0]
    assert comparison["agreement"]["all"]["value"] == 1
    assert comparison["mean_abs_logit_difference"]["value"] == 0
    assert comparison["flips"] == []


def test_latency_reports_percentiles_of_both_variants(shapes_family: Path) -> None:
    files = [shapes_family / f"shapes-{variant}.tflite" for variant in ("float32", "int8")]
    done = spot_edge("bench", "latency", *files, "--samples", 300, "--seconds", 0, "--cold", 2, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [record["model"]["variant"] for record in report["models"]] == ["float32", "int8"]
    for record in report["models"]:
        total = record["rows_ms"]["total"]
        assert 0 < total["p50"]["value"] <= total["p90"]["value"] <= total["p99"]["value"]


def test_overhead_reports_its_ratios() -> None:
    done = spot_edge("bench", "overhead", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    for ratio in (report["call"], report["still"], report["process"]):
        median = ratio["median"]
        assert median["low"] <= median["value"] <= median["high"]
        assert median["n"] >= 20
        assert ratio["met"] == (median["value"] <= ratio["target"])


def test_info_names_what_the_converter_put_in(shapes_family: Path) -> None:
    done = spot_edge("info", shapes_family / "shapes-int8.tflite", "--json")
    spec = json.loads(done.stdout)["spec"]
    assert [label["label"] for label in spec["labels"]] == ["circle", "square", "triangle"]
    assert spec["measured_in"]["runtime"] == "ai-edge-litert"


def test_a_run_leaves_what_the_contract_names(shapes_run: Path) -> None:
    assert {path.name for path in shapes_run.iterdir()} == {
        "recipe.toml", "run.json", "split.csv", "model.keras", "history.csv", "history.svg", "metrics.json",
        "validation.md", "confusion.svg",
    }  # fmt: skip
    metrics = json.loads((shapes_run / "metrics.json").read_text())
    assert metrics["balanced_accuracy"]["low"] <= metrics["balanced_accuracy"]["value"]
    assert metrics["balanced_accuracy"]["value"] > 0.5
