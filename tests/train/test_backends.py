"""Keras backends, as far as TensorFlow alone can test them: missing ones, tracing, and resuming under another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from spot_bench.data.drawn import draw_shapes
from spot_edge.errors import DataError
from spot_train.data.augment import RandomAugmentation
from spot_train.data.batches import Examples
from spot_train.loop.checkpoint import Checkpoint, Position
from spot_train.loop.fit import Interrupted, fit
from spot_train.loop.progress import Progress, StopRequest
from spot_train.loop.session import train_run, unfinished_folder
from spot_train.recipes.recipe import Network, Recipe, Train, load_recipe


def tiny_body(network: Network, classes: int, *, any_size: bool = False) -> keras.Model:
    side = None if any_size else network.size
    image = keras.Input((side, side, 3), dtype="uint8")
    features = keras.layers.Conv2D(4, 3, strides=4)(keras.layers.Rescaling(1 / 255)(image))
    evidence = keras.layers.Conv2D(classes, 1, name="evidence")(features)
    return keras.Model(image, {"evidence": evidence, "embedding": keras.layers.GlobalAveragePooling2D()(features)})


def test_only_the_first_epoch_of_a_size_is_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = [0]
    call = RandomAugmentation.call

    def counted(self: RandomAugmentation, images: object, draws: object = None) -> object:
        traced[0] += 1
        return call(self, images, draws)

    monkeypatch.setattr("spot_train.loop.fit.build_body", tiny_body)
    monkeypatch.setattr(RandomAugmentation, "call", counted)
    examples = Examples(
        np.zeros((8, 40, 40, 3), np.uint8), np.arange(8) % 2, np.eye(2, dtype=np.float32)[np.arange(8) % 2], np.ones(8)
    )
    train = Train(batch=4, stored_size=40, head_epochs=0, epochs=3)
    after = []

    def validate(body: keras.Model) -> tuple[float, float]:
        after.append(traced[0])
        return 0.0, 0.0

    recipe = Recipe("tiny", network=Network(size=32), train=train)
    fit(recipe, examples, lambda body: None, validate, Checkpoint(tmp_path), Progress(lambda line: None), StopRequest())
    assert after[0] > 0
    assert after == [after[0]] * 3


def test_a_training_resumes_only_under_the_same_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_shapes(tmp_path / "data", per_class=6)

    def interrupted(
        recipe: Recipe, examples: Examples, load: object, validate: object, checkpoint: Checkpoint, *_: object
    ) -> None:
        checkpoint.save(tiny_body(recipe.network, 3), keras.optimizers.SGD(), Position(0, 1, 0))
        raise Interrupted

    monkeypatch.setattr("spot_train.loop.session.fit", interrupted)
    recipe, data, out = load_recipe("any-images"), tmp_path / "data", tmp_path / "run"
    with pytest.raises(Interrupted):
        train_run(recipe, data, out, weights="none", log=print)
    start = unfinished_folder(out) / "start.json"
    start.write_text(json.dumps(json.loads(start.read_text()) | {"backend": "jax"}))
    with pytest.raises(DataError, match="started with different backend"):
        train_run(recipe, data, out, weights="none", resume=True, log=print)


def command(backend: str, *hidden: str) -> subprocess.CompletedProcess[str]:
    """Run `spot-edge runs restore` under `backend`, as if the modules `hidden` were not installed."""
    code = f"import sys; sys.modules.update(dict.fromkeys({hidden!r})); from spot_edge.cli import main; "
    code += "main(['runs', 'restore', 'absent', '--out', 'absent'])"
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("backend", "hidden", "message"),
    [
        ("tensorflow", ("keras",), "keras is not installed. Install it from a clone"),
        ("jax", ("jax",), "[train-jax]', or set KERAS_BACKEND=tensorflow, which is installed"),
        ("tensorfloww", (), "KERAS_BACKEND must be one of tensorflow, jax, torch"),
    ],
)
def test_a_missing_backend_says_what_to_install(backend: str, hidden: tuple[str, ...], message: str) -> None:
    done = command(backend, *hidden)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]


def test_tensorflow_starts_without_messages() -> None:
    done = command("tensorflow")
    assert done.returncode == 7
    assert done.stderr == "spot-edge: absent: not a run directory: run.json is missing or unreadable\n"
