"""The same recipe under Keras' three backends: it learns, survives kill -9, and leaves a file that converts here.

Run by `make check TARGET=backends`, which makes the environments: .venv-jax and .venv-torch have no TensorFlow in them.
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
LOGITS = 1e-4  # of logits of the order of one; seen: 1e-5

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
ANSWER = """
import sys, keras, numpy
from spot_train.loop.fit import predict_logits
body = keras.saving.load_model(sys.argv[1], compile=False)
numpy.save(sys.argv[3], predict_logits(body, numpy.load(sys.argv[2])))
assert keras.config.backend() == "tensorflow" or "tensorflow" not in sys.modules
"""


def draw_colours(folder: Path) -> None:
    """Class folders of red, green and blue clouds: so easy that a few steps are enough, on any backend."""
    random = np.random.default_rng(3)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            coarse = random.integers(30, 120, (6, 8, 3), np.uint8)
            coarse[..., channel] += 120
            Image.fromarray(coarse).resize((96, 72)).save(folder / name / f"{number:02}.png")


def started(backend: str, *arguments: object) -> subprocess.Popen[str]:
    command = [PYTHONS[backend], *map(str, arguments)]
    environment = os.environ | {"KERAS_BACKEND": backend}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    said = process.communicate()[0]
    assert process.returncode == code, said
    return said


def training(backend: str, out: Path, *more: object) -> subprocess.Popen[str]:
    """`spot-edge train` of the recipe that the folder of the run is named after."""
    recipe, data = out.with_name(f"{out.name.partition('-')[0]}.toml"), out.with_name("pictures")
    return started(backend, "-m", "spot_edge.cli", "train", recipe, "--data", data, "--out", out, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all backends have left what they trained and what it answers."""
    folder = tmp_path_factory.mktemp("backends")
    draw_colours(folder / "pictures")
    restore(REPOSITORY / "models" / "spot", folder / "spot")
    (folder / "colours.toml").write_text(RECIPE)
    (folder / "mixed.toml").write_text(MIXED)
    np.save(folder / "pictures.npy", np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8))
    with ThreadPoolExecutor() as together:
        list(together.map(lambda backend: train_and_answer(backend, folder), PYTHONS))
    return folder


def train_and_answer(backend: str, folder: Path) -> None:
    run = folder / f"colours-{backend}"
    state = folder / f"{run.name}.unfinished" / "state.npz"
    weights = ("--weights", folder / "spot" / "model.keras")
    process = training(backend, run, *weights)
    while process.poll() is None and not state.exists():
        time.sleep(0.1)
    process.kill()
    said = process.communicate()[0]
    assert state.exists(), said
    if backend == "torch":  # once is enough
        said = finished(training("jax", run, *weights, "--resume"), 7)
        assert "began with another backend" in said
    finished(training(backend, run, *weights, "--resume"))
    finished(started(backend, "-c", ANSWER, run / "model.keras", folder / "pictures.npy", folder / f"{backend}.npy"))
    finished(training(backend, folder / f"mixed-{backend}", "--weights", "none"))


@pytest.mark.parametrize("backend", PYTHONS)
def test_a_killed_training_goes_on_to_its_end_and_has_learned(folder: Path, backend: str) -> None:
    run = folder / f"colours-{backend}"
    with open(run / "history.csv", newline="") as file:
        epochs = [(row["phase"], row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == [("head", "1"), ("head", "2"), ("head", "3"), ("all", "1"), ("all", "2")]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["balanced_accuracy"]["value"] > 0.7  # guessing gives a third
    assert json.loads((run / "run.json").read_text())["environment"]["backend"] == backend


@pytest.mark.parametrize("backend", PYTHONS)
def test_its_file_gives_the_same_logits_under_tensorflow(folder: Path, backend: str) -> None:
    body = keras.saving.load_model(folder / f"colours-{backend}" / "model.keras", compile=False)
    here, there = predict_logits(body, np.load(folder / "pictures.npy")), np.load(folder / f"{backend}.npy")
    print(f"{backend}: logits up to {np.abs(here).max():.2f} differ by {np.abs(here - there).max():.1e} at most")
    np.testing.assert_allclose(here, there, atol=LOGITS)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_its_run_converts_to_int8_here(folder: Path, backend: str) -> None:
    run, out = folder / f"colours-{backend}", folder / f"family-{backend}"
    process = started("tensorflow", "-m", "spot_edge.cli", "convert", run, "--out", out, "--variants", "float32,int8")
    said = process.communicate()[0]
    assert process.returncode in {0, CheckError.exit_code}, (
        said
    )  # on 18 images the gate may keep a file apart: that is no fault
    (file,) = out.rglob("colours-int8.tflite")
    info = finished(started("tensorflow", "-m", "spot_edge.cli", "info", file, "--json"))
    assert [label["label"] for label in json.loads(info)["spec"]["labels"]] == ["blue", "green", "red"]


@pytest.mark.parametrize("backend", PYTHONS)
def test_mixed_precision_leaves_a_float32_file(folder: Path, backend: str) -> None:
    body = keras.saving.load_model(folder / f"mixed-{backend}" / "model.keras", compile=False)
    assert {weight.dtype for weight in body.weights} == {"float32"}
    assert {layer.compute_dtype for layer in body.layers} == {"float32"}
