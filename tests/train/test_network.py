"""The network's contract: uint8 in, evidence and embedding out, stock layers only."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from spot_edge.errors import DataError
from spot_train.network import build_body, freeze_batch_norm, load_trunk
from spot_train.recipe import Network

SMALL = Network(width=0.35, size=96)


@pytest.fixture(scope="module")
def body() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_body(SMALL, 5)


def pictures(count: int, size: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_the_embedding_pools_what_the_evidence_is_made_from(body: keras.Model) -> None:
    found = body.predict_on_batch(pictures(2))
    evidence, embedding = found["evidence"], found["embedding"]
    assert evidence.shape == (2, 3, 3, 5)
    kernel, bias = body.get_layer("evidence").get_weights()
    np.testing.assert_allclose(evidence.mean(axis=(1, 2)), embedding @ kernel[0, 0] + bias, atol=1e-4)


def test_pixels_are_scaled_inside_the_graph(body: keras.Model) -> None:
    scale = body.layers[1]
    assert isinstance(scale, keras.layers.Rescaling)
    assert body.inputs[0].dtype == "uint8"
    np.testing.assert_allclose(scale(np.array([0.0, 255.0], np.float32)), [-1, 1], atol=1e-6)


def test_every_layer_is_a_stock_one(body: keras.Model) -> None:
    assert {type(layer).__module__.split(".")[0] for layer in body.layers} == {"keras"}


def test_frozen_batch_norm_keeps_its_moving_statistics_in_fit() -> None:
    body = build_body(SMALL, 3)
    freeze_batch_norm(body)
    before = {w.path: w.numpy() for w in body.weights if "moving" in w.path}
    logits = keras.layers.GlobalAveragePooling2D()(body.output["evidence"])
    model = keras.Model(body.input, logits)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(pictures(8), np.arange(8) % 3, batch_size=4, verbose=0)
    assert before
    assert all(np.array_equal(before[w.path], w.numpy()) for w in body.weights if "moving" in w.path)


def test_a_trunk_of_an_earlier_run_is_taken_over_all_but_its_head(body: keras.Model, tmp_path: Path) -> None:
    body.save(tmp_path / "model.keras")
    other = build_body(Network(width=0.35, size=128), 2)
    load_trunk(other, Network(width=0.35, size=128), str(tmp_path / "model.keras"))
    kernel = "block_3_project"
    np.testing.assert_array_equal(other.get_layer(kernel).get_weights()[0], body.get_layer(kernel).get_weights()[0])
    assert other.get_layer("evidence").get_weights()[0].shape[-1] == 2


def test_a_trunk_of_another_width_is_refused_in_one_line(body: keras.Model, tmp_path: Path) -> None:
    body.save(tmp_path / "model.keras")
    wide = Network(width=0.5, size=96)
    with pytest.raises(DataError, match=r"not weights of mobilenet_v2 at width 0.5"):
        load_trunk(build_body(wide, 5), wide, str(tmp_path / "model.keras"))


@pytest.mark.parametrize("name", ["absent.weights.h5", "text.weights.h5", "text.keras"])
def test_a_trunk_that_is_none_is_refused(body: keras.Model, tmp_path: Path, name: str) -> None:
    if name.startswith("text"):
        (tmp_path / name).write_text("not weights")
    with pytest.raises(DataError, match=name):
        load_trunk(body, SMALL, str(tmp_path / name))


def test_an_unknown_backbone_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match="known are mobilenet_v2"):
        build_body(Network(backbone="mobilenet_v9"), 3)
