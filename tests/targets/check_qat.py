"""Check the variant `qat-int8`, which trains in its own environment. `make check TARGET=qat` makes it and runs this."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType

from spot_bench.run.progress import no_bar
from spot_bench.run.settings import Retraining
from spot_convert.checks.parity import operator_names
from spot_convert.images import choose_calibration_images, image_tensors, training_tensors
from spot_convert.modelfile.graph import unpack
from spot_convert.pipeline import convert_run
from spot_convert.quantize.qat import qat_body
from spot_convert.run import read_run
from spot_convert.runtimes.predictions import Environments
from spot_edge import read_model
from spot_edge.errors import CheckError

PYTHON = Path(os.environ.get("QAT_PYTHON", "QAT_PYTHON is not set"))

ENDLESS = """
import sys
from pathlib import Path
import numpy as np
from spot_bench.run.settings import Retraining
from spot_convert.quantize.qat import qat_body
from spot_convert.run import read_run
run = read_run(Path(sys.argv[1]))
object.__setattr__(run, "retraining", Retraining(steps=100_000))
images = np.random.default_rng(0).integers(0, 256, (8, run.image.size, run.image.size, 3), dtype=np.uint8)
qat_body(run, images, images, Path(sys.argv[2]), lambda steps: print("step", flush=True))
"""


@pytest.fixture(scope="module")
def family(shapes_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qat")
    run = folder / "run"
    run.mkdir()
    for name in ("run.json", "split.csv", "model.keras"):
        (run / name).symlink_to(shapes_run / name)
    recipe = (shapes_run / "recipe.toml").read_text().partition("[retrain]")[0]
    (run / "recipe.toml").write_text(f"{recipe}\n[retrain]\nsteps = 12\n")
    convert_run(run, folder / "out", variants=["int8", "qat-int8"], environments=Environments(qat=PYTHON), log=print)
    return folder / "out"


def test_file_has_the_input_and_operators_of_the_int8_variant(family: Path) -> None:
    content = read_model(next(family.rglob("shapes-qat-int8.tflite"))).content
    graph = unpack(content).subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    assert image.type == TensorType.UINT8
    assert image.quantization.zeroPoint.tolist() == [128]
    np.testing.assert_allclose(image.quantization.scale, [1 / 127.5], rtol=1e-4)
    plain = operator_names(read_model(family / "shapes-int8.tflite").content)
    assert sorted(operator_names(content)) == sorted(plain)


def test_every_channel_has_its_own_scale(family: Path) -> None:
    content = read_model(next(family.rglob("shapes-qat-int8.tflite"))).content
    graph = unpack(content).subgraphs[0]
    axes = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}
    seen = set()
    for operator, kind in zip(graph.operators, operator_names(content), strict=True):
        if kind in axes:
            kernel = graph.tensors[operator.inputs[1]]
            assert len(kernel.quantization.scale) == kernel.shape[axes[kind]]
            seen.add(kind)
    assert seen == set(axes)


def test_predictions_agree_with_the_float_network(family: Path) -> None:
    files = {entry["variant"]: entry for entry in json.loads((family / "report.json").read_text())["files"]}
    assert files["qat-int8"]["comparison_on_validation"]["agreement"]["all"]["value"] > 0.9
    assert files["qat-int8"]["bytes"] < 1.05 * files["int8"]["bytes"]


def test_training_is_deterministic(shapes_run: Path) -> None:
    run = dataclasses.replace(read_run(shapes_run), retraining=Retraining(steps=2))
    calibration = image_tensors(choose_calibration_images(run.manifest), run.image)
    training = training_tensors(run, no_bar)
    steps: list[int] = []
    one, two = (qat_body(run, calibration, training, PYTHON, steps.append) for _ in range(2))
    assert one == two
    assert sum(steps) == 4


def test_failure_in_the_subprocess_is_one_line(shapes_run: Path) -> None:
    run = read_run(shapes_run)
    wrong = np.zeros((8, 8, 8, 3), np.uint8)
    with pytest.raises(CheckError, match=r"qat-int8: training in .* failed: ") as caught:
        qat_body(run, wrong, wrong, PYTHON, lambda steps: None)
    assert "\n" not in str(caught.value)


def test_ctrl_c_stops_both_processes(shapes_run: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, shapes_run, PYTHON],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert stderr.strip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no process of its session is left
