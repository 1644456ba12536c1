"""Train the same recipe with Keras' three backends. It learns, survives kill -9, and its network converts here.

`make check TARGET=backends` runs this and makes the environments. .venv-jax and .venv-torch contain no TensorFlow.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from spot_edge.errors import CheckError
from spot_train.loop.fit import predict_logits
from spot_train.runs.packed import restore

REPOSITORY = Path(__file__).parent.parent.parent
PYTHONS = {
    "tensorflow": sys.executable,
    "jax": str(REPOSITORY / ".venv-jax" / "bin" / "python"),
    "torch": str(REPOSITORY / ".venv-torch" / "bin" / "python"),
}
LOGIT_TOLERANCE = 1e-4  # logits are of order 1; the largest difference seen was 1e-5

RECIPE = """
name = "colours"
[network]
size = 64
[augment]
rotate = 20.0
zoom = [0.9, 1.0]
hairs = 0.125
corners = 0.125
jpeg = 0.25
blur = 0.25
[train]
batch = 8
stored_size = 72
head_epochs = 3
head_learning_rate = 3e-3
epochs = 2
learning_rate = 1e-4
ema = 0.5
"""
MIXED = """
name = "mixed"
[network]
size = 32
width = 0.35
[train]
batch = 8
stored_size = 40
head_epochs = 0
epochs = 1
precision = "mixed_bfloat16"
"""
PREDICT = """
import sys, keras, numpy
from spot_train.loop.fit import predict_logits
body = keras.saving.load_model(sys.argv[1], compile=False)
numpy.save(sys.argv[3], predict_logits(body, numpy.load(sys.argv[2])))
assert keras.config.backend() == "tensorflow" or "tensorflow" not in sys.modules
"""


def draw_colours(folder: Path) -> None:
    """Class folders of red, green and blue clouds. Every backend learns them in a few steps."""
    random = np.random.default_rng(3)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            coarse = random.integers(30, 120, (6, 8, 3), np.uint8)
            coarse[..., channel] += 120
            Image.fromarray(coarse).resize((96, 72)).save(folder / name / f"{number:02}.png")


def start(backend: str, *arguments: object) -> subprocess.Popen[str]:
    command = [PYTHONS[backend], *map(str, arguments)]
    environment = os.environ | {"KERAS_BACKEND": backend}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def output_of(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for the process, check its exit code, and return its output."""
    output = process.communicate()[0]
    assert process.returncode == code, output
    return output


def start_training(backend: str, out: Path, *options: object) -> subprocess.Popen[str]:
    """Start `spot-edge train` with the recipe whose name begins the name of the run directory."""
    recipe, data = out.with_name(f"{out.name.partition('-')[0]}.toml"), out.with_name("images")
    return start(backend, "-m", "spot_edge.cli", "train", recipe, "--data", data, "--out", out, *options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs that all backends trained, and their predictions."""
    folder = tmp_path_factory.mktemp("backends")
    draw_colours(folder / "images")
    restore(REPOSITORY / "models" / "spot", folder / "spot")
    (folder / "colours.toml").write_text(RECIPE)
    (folder / "mixed.toml").write_text(MIXED)
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8))
    with ThreadPoolExecutor() as together:
        list(together.map(lambda backend: train_and_predict(backend, folder), PYTHONS))
    return folder


def train_and_predict(backend: str, folder: Path) -> None:
    run = folder / f"colours-{backend}"
    state = folder / f"{run.name}.unfinished" / "state.npz"
    weights = ("--weights", folder / "spot" / "model.keras")
    process = start_training(backend, run, *weights)
    while process.poll() is None and not state.exists():
        time.sleep(0.1)
    process.kill()
    output = process.communicate()[0]
    assert state.exists(), output
    if backend == "torch":  # checked once only
        output = output_of(start_training("jax", run, *weights, "--resume"), 7)
        assert "started with different backend" in output
    output_of(start_training(backend, run, *weights, "--resume"))
    output_of(start(backend, "-c", PREDICT, run / "model.keras", folder / "images.npy", folder / f"{backend}.npy"))
    output_of(start_training(backend, folder / f"mixed-{backend}", "--weights", "none"))


@pytest.mark.parametrize("backend", PYTHONS)
def test_killed_training_resumes_and_learns(folder: Path, backend: str) -> None:
    run = folder / f"colours-{backend}"
    with open(run / "history.csv", newline="") as file:
        epochs = [(row["phase"], row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == [("head", "1"), ("head", "2"), ("head", "3"), ("all", "1"), ("all", "2")]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["balanced_accuracy"]["value"] > 0.7  # guessing gives a third
    assert json.loads((run / "run.json").read_text())["environment"]["backend"] == backend


@pytest.mark.parametrize("backend", PYTHONS)
def test_saved_network_gives_the_same_logits_in_tensorflow(folder: Path, backend: str) -> None:
    body = keras.saving.load_model(folder / f"colours-{backend}" / "model.keras", compile=False)
    here, there = predict_logits(body, np.load(folder / "images.npy")), np.load(folder / f"{backend}.npy")
    print(f"{backend}: logits up to {np.abs(here).max():.2f} differ by {np.abs(here - there).max():.1e} at most")
    np.testing.assert_allclose(here, there, atol=LOGIT_TOLERANCE)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_run_converts_to_int8(folder: Path, backend: str) -> None:
    run, out = folder / f"colours-{backend}", folder / f"family-{backend}"
    process = start("tensorflow", "-m", "spot_edge.cli", "convert", run, "--out", out, "--variants", "float32,int8")
    output = process.communicate()[0]
    # With 18 images the drift gate may reject a file, which is no fault of the backend.
    assert process.returncode in {0, CheckError.exit_code}, output
    (file,) = out.rglob("colours-int8.tflite")
    info = output_of(start("tensorflow", "-m", "spot_edge.cli", "info", file, "--json"))
    assert [label["label"] for label in json.loads(info)["spec"]["labels"]] == ["blue", "green", "red"]


@pytest.mark.parametrize("backend", PYTHONS)
def test_mixed_precision_saves_a_float32_network(folder: Path, backend: str) -> None:
    body = keras.saving.load_model(folder / f"mixed-{backend}" / "model.keras", compile=False)
    assert {weight.dtype for weight in body.weights} == {"float32"}
    assert {layer.compute_dtype for layer in body.layers} == {"float32"}
