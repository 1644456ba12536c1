"""Check the variants for tflite-runtime, calibrated and compared in it.

`make check TARGET=targets` makes the environment and runs this.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from in_runtime import predict_in_runtime

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.predictions import load_predictions
from spot_convert.pipeline import convert_run
from spot_convert.runtimes.predictions import Environments
from spot_convert.variants.catalog import TFLITE_RUNTIME, VARIANTS
from spot_edge import read_model
from spot_edge.prediction.ood import MEMBER

PYTHON = Path(os.environ.get("TFLITE_RUNTIME_PYTHON", "TFLITE_RUNTIME_PYTHON is not set"))
OTHERS = [name for name, variant in VARIANTS.items() if variant.runtime == TFLITE_RUNTIME]


@pytest.fixture(scope="module")
def family(shapes_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("family")
    convert_run(
        shapes_run, out, variants=["int8", *OTHERS], environments=Environments(tflite_runtime=PYTHON), log=print
    )
    return out


def classify(model: Path, folder: Path) -> list[dict[str, object]]:
    command = [PYTHON, "-m", "spot_edge.cli", "classify", "--model", model, "--json", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", OTHERS)
def test_file_runs_without_notes_in_its_own_runtime(family: Path, tmp_path: Path, name: str) -> None:
    model = family / f"shapes-{name}.tflite"
    spec = read_model(model).spec
    assert (spec.measured_in.runtime, spec.variant) == (TFLITE_RUNTIME, name)
    assert spec.drift is not None
    draw_shapes(tmp_path, 4, 99)
    found = classify(model, tmp_path)
    assert len(found) == 12
    assert all(not prediction["notes"] for prediction in found)
    correct = [Path(str(p["source"]["name"])).parent.name == p["ranked"][0]["label"] for p in found]  # type: ignore[index]
    assert sum(correct) > 8


def test_bench_predict_runs_tflite_runtime(family: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "real", 4, 99)
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "shapes").symlink_to(tmp_path / "real")  # image names may lead through links
    images = sorted((tmp_path / "list" / "shapes").glob("*/*"))
    rows = [f"{image.relative_to(tmp_path / 'list')},{image.parent.name}" for image in images]
    (tmp_path / "list" / "data.csv").write_text("\n".join(["image,label", *rows, ""]))
    model = family / "shapes-int8-tflite-runtime.tflite"
    predict_in_runtime(model, tmp_path / "list" / "data.csv", tmp_path, "--tflite-runtime", PYTHON)
    saved, predictions = load_predictions(tmp_path / "predictions.npz"), classify(model, tmp_path / "list" / "shapes")
    assert saved.model["runtime"] == TFLITE_RUNTIME
    assert saved.images.tolist() == [row.partition(",")[0] for row in rows]
    top = {str(each["source"]["name"]): each["ranked"][0]["label"] for each in predictions}  # type: ignore[index]
    assert [saved.labels[row.argmax()] for row in saved.scores] == [
        top[str(tmp_path / "list" / str(name))] for name in saved.images
    ]


def test_what_is_fitted_is_per_runtime(family: Path) -> None:
    """Embeddings always differ. The scores of a network without errors may all be 1, with the same temperature."""
    here, there = (read_model(family / f"shapes-{name}.tflite") for name in ("int8", "int8-tflite-runtime"))
    assert here.members[MEMBER] != there.members[MEMBER]
