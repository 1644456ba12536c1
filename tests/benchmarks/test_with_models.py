"""Predictions, drift, latency and overhead with real model files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.data.manifest import Item, Manifest, read_manifest
from spot_bench.data.predictions import load_predictions, predict, save_predictions
from spot_bench.speed.latency import Plan, measure
from spot_bench.speed.lines import latency_lines, overhead_lines
from spot_bench.speed.overhead import call_overhead, process_overhead
from spot_bench.stats.calibration import softmax
from spot_bench.stats.metrics import accuracy
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError, DataError

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def int8(shapes_family: Path) -> Classifier:
    return Classifier.load(shapes_family / "shapes-int8.tflite")


@pytest.fixture(scope="module")
def manifest(shapes: Path) -> Manifest:
    return read_manifest(shapes)


def test_predictions_match_the_device(int8: Classifier, manifest: Manifest, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    part = replace(manifest, items=manifest.items[::8])
    found = predict(int8, part, lambda done, total: seen.append((done, total)))
    assert seen == [(number + 1, len(part.items)) for number in range(len(part.items))]
    assert found.labels == ("circle", "square", "triangle")
    assert found.images.tolist() == [manifest.name(item) for item in part.items]
    for row in (0, 7, len(part.items) - 1):
        prediction = int8.classify(part.items[row].image)
        assert found.labels[found.scores[row].argmax()] == prediction.top.label
        assert found.scores[row].max() == np.float32(prediction.top.score)
        assert found.labels[found.truth[row]] == part.items[row].label
    temperature = int8.model.spec.temperature
    np.testing.assert_allclose(softmax(found.logits, temperature), found.scores, atol=1e-5)
    assert accuracy(found.truth, found.scores) > 1 / 3
    assert (found.model["id"], found.model["runtime"]) == (int8.model.id, int8.runtime.name)
    save_predictions(found, tmp_path / "p.npz")
    assert load_predictions(tmp_path / "p.npz").scores.tolist() == found.scores.tolist()


def test_a_few_damaged_images_are_skipped(int8: Classifier, manifest: Manifest, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"not an image")
    item = Item(damaged, "circle", "damaged")
    found = predict(int8, replace(manifest, items=(*manifest.items[:100], item)))
    assert len(found.truth) == 100
    ((image, reason),) = found.skipped
    assert image == damaged.as_posix()
    assert "not an image" in reason
    with pytest.raises(
        DataError, match=r"1 of 31 images \(3.2 %\) cannot be classified\. The first: .*damaged\.jpg: not an image"
    ):
        predict(int8, replace(manifest, items=(*manifest.items[:30], item)))


def test_unknown_labels_are_refused_before_the_first_image(int8: Classifier, manifest: Manifest) -> None:
    unknown = Item(Path("nowhere.jpg"), "hexagon", "x")
    with pytest.raises(DataError, match=r"does not have the labels hexagon \(it has circle, square, triangle\)"):
        predict(int8, replace(manifest, items=(unknown, *manifest.items[:3])))


def test_drift_from_the_command_line(shapes: Path, shapes_family: Path, tmp_path: Path) -> None:
    files = {name: str(shapes_family / f"shapes-{name}.tflite") for name in ("float32", "int8")}
    arguments = ["drift", files["int8"], files["float32"], "--baseline", files["float32"], "--data", str(shapes)]
    done = CliRunner().invoke(bench, [*arguments, "--split", "all", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "shapes int8" in done.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["data"] == {"name": shapes.name, "split": "all", "images": 240}
    quantized, same = report["comparisons"]
    assert same["flips"] == []
    assert same["kl"]["value"] == 0
    assert quantized["mean_abs_logit_difference"]["value"] > 0
    assert quantized["baseline"]["model"]["variant"] == "float32"
    assert quantized["other"]["model"]["variant"] == "int8"
    assert quantized["baseline"] == same["baseline"]


def test_latency_of_a_quantized_file_and_its_baseline(shapes_family: Path) -> None:
    files = [str(shapes_family / f"shapes-{name}.tflite") for name in ("float32", "int8")]
    report = measure(files, encode_jpeg(draw_lesion(1)), Plan(threads=(1,), samples=30, seconds=0, cold=0))
    float32, int8 = report["models"]
    assert (float32["against_float32"], int8["against_float32"]["file"]) == (None, files[0])
    assert [record["utilisation"]["type"] for record in (float32, int8)] == ["float32", "int8"]
    assert float32["utilisation"]["macs"] == int8["utilisation"]["macs"]
    assert any("than float32" in line or "as fast as float32" in line for line in latency_lines(report))


def test_overhead_of_a_call(int8: Classifier) -> None:
    found = call_overhead(int8, times=40)
    assert found.median.n == 40
    assert found.median.low <= found.median.value <= found.median.high
    assert found.median.value == pytest.approx(found.ours_ms / found.bare_ms)
    assert found.fastest > 0


def test_overhead_of_a_process(int8: Classifier, shapes_family: Path) -> None:
    found = process_overhead(int8, shapes_family / "shapes-int8.tflite", times=2)
    assert found.fastest > 0
    report = {
        "model": {"name": "shapes"},
        "runtime": {"name": "ai-edge-litert", "version": "2"},
        "machine": {"cpu": "some"},
        "call": found.as_dict(),
        "still": found.as_dict(),
        "checks": None,
        "process": found.as_dict(),
    }
    assert any(line.startswith("command against bare process") for line in overhead_lines(report))
    with pytest.raises(CheckError, match=r"exited with 4: .*missing"):
        process_overhead(int8, Path("missing.tflite"), times=1)
