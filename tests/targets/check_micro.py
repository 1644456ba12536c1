"""Check the variant `microcontroller` in tflite-micro's interpreter.

`make check TARGET=micro` runs this with `-s`, to show the figures.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from images import drawn_lesions
from in_runtime import predict_in_runtime, tensor_of

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.predictions import load_predictions
from spot_convert.commands.kit import kit
from spot_convert.inspect.graph import read_flatbuffer
from spot_convert.pipeline import convert_run
from spot_convert.runtimes.compatibility import try_runtimes
from spot_convert.runtimes.micro.kernels import PROVEN, ReferenceKernels, micro_version, prove_equal, try_isolated
from spot_convert.runtimes.micro.trial import try_in_micro
from spot_convert.variants.catalog import TFLITE_MICRO
from spot_edge import read_model
from spot_edge.image.tensor import to_tensor
from spot_edge.isolated import call_isolated
from spot_edge.model.interpreter import Interpreter

IMAGES = 24
START = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_bytes(open(sys.argv[1], "rb").read(), arena_size=int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def family(shapes_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("family") / "out"
    convert_run(shapes_run, out, variants=["int8", "microcontroller"], log=print)
    return out


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    spec = read_model().spec.image
    return np.concatenate([to_tensor(image, spec)[0] for image in drawn_lesions(IMAGES)])


def test_reference_kernels_equal_tflite_micro(drawn: np.ndarray) -> None:
    """They agree bit for bit, so the variant's figures hold for tflite-micro. Prints how far the device differs."""
    model = read_model()
    start = time.perf_counter()
    needs = prove_equal(model, drawn)
    took = time.perf_counter() - start
    micro, device = ReferenceKernels(model), Interpreter(model, threads=1)
    theirs = np.array([micro.invoke(tensor[np.newaxis])["scores"] for tensor in drawn])
    ours = np.array([device.invoke(tensor[np.newaxis])["scores"] for tensor in drawn])
    gaps = np.abs(theirs - ours).max(axis=1)
    agree = int((theirs.argmax(axis=1) == ours.argmax(axis=1)).sum())
    print(
        f"\ntflite-micro {micro_version()}, n={len(drawn)} drawn lesions, both in {took:.0f} s: {needs}\n"
        f"against the device's LiteRT: largest |score - device's| {gaps.max():.3f}, mean over images of the largest "
        f"{gaps.mean():.4f}, same top class {agree}"
    )
    assert needs["images_proven_equal"] == IMAGES


def test_arena_is_the_smallest_that_works(tmp_path: Path) -> None:
    trial = try_isolated(read_model(), np.zeros((0,), np.uint8))
    assert trial.arena >= trial.head + trial.tail > 0
    (file := tmp_path / "spot.tflite").write_bytes(read_model().content)
    for arena, starts in ((trial.arena, True), (trial.arena - 16, False)):
        done = subprocess.run([sys.executable, "-c", START, file, str(arena)], capture_output=True, check=False)
        assert (done.returncode == 0) == starts, done.stderr


def test_report_lists_what_a_microcontroller_needs(family: Path) -> None:
    model = read_model(family / "shapes-microcontroller.tflite")
    assert model.spec.measured_in == (TFLITE_MICRO, micro_version())
    int8, micro = json.loads((family / "report.json").read_text())["files"]
    assert "microcontroller" not in int8
    needs = micro["microcontroller"]
    assert needs["flash_bytes"] < micro["bytes"]
    assert needs["arena_bytes"] >= needs["head_bytes"] + needs["tail_bytes"]
    assert {"AddConv2D", "AddDepthwiseConv2D", "AddSoftmax"} <= set(needs["operators"])
    assert needs["images"]["val"] == micro["comparison_on_validation"]["agreement"]["all"]["n"]


def test_bench_predict_runs_the_reference_kernels(family: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "data", 7, 99)
    model = family / "shapes-microcontroller.tflite"
    about = json.loads(predict_in_runtime(model, tmp_path / "data", tmp_path, "--json"))
    assert (about["runtime"], about["images"], about["images_proven_equal"]) == (TFLITE_MICRO, 21, PROVEN)
    saved, kernels = load_predictions(tmp_path / "predictions.npz"), ReferenceKernels(read_model(model))
    for name, scores in zip(saved.images, saved.scores, strict=True):
        tensor = tensor_of(model, tmp_path / "data" / str(name))
        np.testing.assert_array_equal(scores, kernels.invoke(tensor)["scores"])


def test_inspect_shows_arena_and_operators(family: Path) -> None:
    content = (family / "shapes-microcontroller.tflite").read_bytes()
    *_, micro = try_runtimes(content, read_flatbuffer(content, "x"))
    assert (micro.runtime, micro.version, micro.runs, micro.opened) == (TFLITE_MICRO, micro_version(), True, True)
    assert micro.needs is not None
    report = json.loads((family / "report.json").read_text())["files"][1]["microcontroller"]
    assert micro.needs["arena_bytes"] == report["arena_bytes"]
    assert list(micro.needs["operators"]) == report["operators"]


def test_error_says_why_a_file_cannot_run(shapes_family: Path) -> None:
    trial = call_isolated(60, try_in_micro, (shapes_family / "shapes-float32.tflite").read_bytes())
    assert trial.note.startswith("running it on zeros: ")
    assert call_isolated(60, try_in_micro, b"no flatbuffer at all").note.startswith("allocating its tensors: ")


def test_kit_contains_the_source_for_a_microcontroller(family: Path, tmp_path: Path) -> None:
    model = family / "shapes-microcontroller.tflite"
    done = CliRunner().invoke(kit, ["export", str(model), "--out", str(tmp_path / "kit")], catch_exceptions=False)
    assert done.exit_code == 0
    header = (tmp_path / "kit" / "micro" / "shapes_model.h").read_text()
    needs = json.loads((family / "report.json").read_text())["files"][1]["microcontroller"]
    arena = re.search(r"kShapesArenaBytes = (\d+)", header)
    assert arena is not None
    assert int(arena[1]) >= needs["arena_bytes"]
    assert all(f"resolver.{add}()" in header for add in needs["operators"])
    known = json.loads((tmp_path / "kit" / "vectors.json").read_text())
    assert known["runtime"] == {"name": TFLITE_MICRO, "version": micro_version()}
    assert "`micro/`" in (tmp_path / "kit" / "README.md").read_text()
