"""The network: uint8 in, evidence and embedding out, stock layers only; backbones and pretrained weights."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from spot_bench.data.drawn import draw_shapes
from spot_edge.errors import DataError
from spot_train.loop.fit import predict_logits
from spot_train.loop.session import train_run
from spot_train.network.backbones import BACKBONES
from spot_train.network.efficientnet_lite import SIZES
from spot_train.network.network import build_body, check_pretrained, freeze_batch_norm, freeze_first, load_pretrained
from spot_train.recipes.recipe import Network, load_recipe

SMALL = Network(width=0.35, size=96)


@pytest.fixture(scope="module")
def body() -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_body(SMALL, 5)


def random_images(count: int, size: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def outputs(network: keras.Model, images: np.ndarray) -> Any:
    """Call a network layer by layer: a single call is faster than compiling it."""
    return keras.tree.map_structure(np.asarray, network(images, training=False))


def test_evidence_and_embedding_come_from_the_same_features(body: keras.Model) -> None:
    found = outputs(body, random_images(2))
    evidence, embedding = found["evidence"], found["embedding"]
    assert evidence.shape == (2, 3, 3, 5)
    kernel, bias = body.get_layer("evidence").get_weights()
    np.testing.assert_allclose(evidence.mean(axis=(1, 2)), embedding @ kernel[0, 0] + bias, atol=1e-4)


def test_pixels_are_scaled_inside_the_graph(body: keras.Model) -> None:
    scale = body.layers[1]
    assert isinstance(scale, keras.layers.Rescaling)
    assert body.inputs[0].dtype == "uint8"
    np.testing.assert_allclose(scale(np.array([0.0, 255.0], np.float32)), [-1, 1], atol=1e-6)


def test_every_layer_is_a_stock_keras_layer(body: keras.Model) -> None:
    assert {type(layer).__module__.split(".")[0] for layer in body.layers} == {"keras"}


def test_frozen_batch_norm_keeps_its_moving_statistics_in_fit() -> None:
    body = build_body(SMALL, 3)
    freeze_batch_norm(body)
    before = {w.path: w.numpy() for w in body.weights if "moving" in w.path}
    logits = keras.layers.GlobalAveragePooling2D()(body.output["evidence"])
    model = keras.Model(body.input, logits)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(random_images(8), np.arange(8) % 3, batch_size=4, verbose=0)
    assert before
    assert all(np.array_equal(before[w.path], w.numpy()) for w in body.weights if "moving" in w.path)


def test_weights_of_an_earlier_run_are_loaded_except_its_head(body: keras.Model, tmp_path: Path) -> None:
    body.save(tmp_path / "model.keras")
    other = build_body(Network(width=0.35, size=128), 2)
    load_pretrained(other, Network(width=0.35, size=128), str(tmp_path / "model.keras"))
    kernel = "block_3_project"
    np.testing.assert_array_equal(other.get_layer(kernel).get_weights()[0], body.get_layer(kernel).get_weights()[0])
    assert other.get_layer("evidence").get_weights()[0].shape[-1] == 2


def test_weights_of_another_width_are_refused_in_one_line(body: keras.Model, tmp_path: Path) -> None:
    body.save(tmp_path / "model.keras")
    wide = Network(width=0.5, size=96)
    with pytest.raises(DataError, match=r"not weights of mobilenet_v2 at width 0.5"):
        load_pretrained(build_body(wide, 5), wide, str(tmp_path / "model.keras"))


@pytest.mark.parametrize("name", ["absent.weights.h5", "text.weights.h5", "text.keras", "text"])
def test_a_file_that_holds_no_weights_is_refused(body: keras.Model, tmp_path: Path, name: str) -> None:
    if name.startswith("text"):
        (tmp_path / name).write_text("not weights")
    with pytest.raises(DataError, match=name) as caught:
        load_pretrained(body, SMALL, str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_weights_of_keras_applications_load_layer_by_layer(tmp_path: Path) -> None:
    theirs = keras.applications.MobileNetV2(include_top=False, weights=None, alpha=0.35, input_shape=(96, 96, 3))
    theirs.save_weights(tmp_path / "pretrained.weights.h5")
    ours = build_body(SMALL, 3)
    load_pretrained(ours, SMALL, str(tmp_path / "pretrained.weights.h5"))
    for layer in theirs.layers[1:]:
        for one, two in zip(layer.get_weights(), ours.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)


def test_weights_that_do_not_fit_are_refused_before_decoding(
    body: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body.save(tmp_path / "model.keras")
    draw_shapes(tmp_path / "data", per_class=6)
    monkeypatch.setattr("spot_train.loop.session.cached_pixels", lambda *_: pytest.fail("decoded"))
    recipe = load_recipe("any-images", ["network.width=0.5"])
    with pytest.raises(DataError, match=r"model.keras: not weights of mobilenet_v2 at width 0.5"):
        train_run(recipe, tmp_path / "data", tmp_path / "run", weights=str(tmp_path / "model.keras"), log=print)
    assert not list(tmp_path.glob("run*"))


def test_weights_of_another_backbone_are_refused(body: keras.Model, tmp_path: Path) -> None:
    body.save(tmp_path / "model.keras")
    with pytest.raises(DataError, match=r"not weights of mobilenet at width 0.35"):
        check_pretrained(Network(backbone="mobilenet", width=0.35, size=96), str(tmp_path / "model.keras"))


# These differ: operations that are not layers; unnamed layers and odd sizes; normalization stored as weights.
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("mobilenet_v3_small", 64),
        pytest.param("efficientnet_b0", 64, marks=pytest.mark.long),
        ("efficientnet_lite0", 75),
        pytest.param("inception_v3", 85, marks=pytest.mark.nightly),
    ],
)
def test_a_backbone_is_the_same_network_at_any_size_and_after_saving(name: str, size: int, tmp_path: Path) -> None:
    network = Network(backbone=name, size=size)
    fixed, any_size = build_body(network, 3), build_body(network, 3, any_size=True)
    assert isinstance(fixed.layers[1], keras.layers.Rescaling)
    assert {type(layer).__module__.rpartition(".")[0].startswith("keras.src.layers") for layer in fixed.layers} == {
        True
    }
    assert [w.path for w in fixed.weights] == [w.path for w in any_size.weights]
    fixed.save(tmp_path / "model.keras")
    load_pretrained(any_size, network, str(tmp_path / "model.keras"))
    any_size.get_layer("evidence").set_weights(fixed.get_layer("evidence").get_weights())
    saved = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    images = random_images(2, size)
    expected = outputs(fixed, images)
    for other in (any_size, saved):
        found = outputs(other, images)
        np.testing.assert_allclose(found["evidence"], expected["evidence"], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["embedding"], expected["embedding"], rtol=1e-4, atol=1e-6)


def test_efficientnet_gets_standardized_pixels_despite_its_file(tmp_path: Path) -> None:
    # The published file has the deviation in place of the variance.
    theirs = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    deviation = np.array([0.229, 0.224, 0.225])
    theirs.get_layer(index=2).set_weights([np.array([0.485, 0.456, 0.406]), deviation, np.array(0)])
    theirs.save_weights(tmp_path / "pretrained.weights.h5")
    network = Network(backbone="efficientnet_b0", size=64)
    body = build_body(network, 3)
    load_pretrained(body, network, str(tmp_path / "pretrained.weights.h5"))
    prepared = keras.Model(body.input, body.get_layer("normalization").output)
    images = random_images(1, 64)
    np.testing.assert_allclose(outputs(prepared, images), (images / 255 - [0.485, 0.456, 0.406]) / deviation, atol=1e-4)


def test_weights_learned_on_bgr_predict_as_with_keras_preprocessing(tmp_path: Path) -> None:
    theirs = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    theirs.save_weights(tmp_path / "pretrained.weights.h5")
    network = Network(backbone="vgg16", size=32)
    body = build_body(network, 3)
    load_pretrained(body, network, str(tmp_path / "pretrained.weights.h5"))
    images = random_images(2, 32)
    prepared = keras.applications.vgg16.preprocess_input(images.astype(np.float32))
    np.testing.assert_allclose(
        outputs(body, images)["embedding"],
        outputs(theirs, prepared).mean(axis=(1, 2)),
        rtol=1e-3,
        atol=1e-4,
    )


def test_every_backbone_exists_in_keras_or_here() -> None:
    names = {backbone.keras_name for backbone in BACKBONES.values()}
    assert {name for name in names if not hasattr(keras.applications, name)} == set(SIZES)


@pytest.mark.parametrize(("number", "parameters", "convolutions"), [(0, 3_413_024, 49), (2, 4_869_168, 64)])
def test_efficientnet_lite_has_the_published_architecture(number: int, parameters: int, convolutions: int) -> None:
    body = build_body(Network(backbone=f"efficientnet_lite{number}", size=64), 3)
    assert body.count_params() - 3 * 1281 == parameters
    kinds = [type(layer).__name__ for layer in body.layers if layer.name != "evidence"]
    assert kinds.count("Conv2D") + kinds.count("DepthwiseConv2D") == convolutions
    assert all(layer.max_value == 6 for layer in body.layers if isinstance(layer, keras.layers.ReLU))
    np.testing.assert_allclose(body.layers[1](np.array([0.0, 127.0, 255.0], np.float32)), [-127 / 128, 0, 1], atol=1e-6)


def test_weights_that_keras_does_not_have_are_refused() -> None:
    network = Network(backbone="efficientnet_lite0", size=64)
    with pytest.raises(DataError, match=r"Keras has no ImageNet weights of efficientnet_lite0\. Name a file"):
        check_pretrained(network, "imagenet")


def test_frozen_layers_are_counted_like_keras_does() -> None:
    body = build_body(Network(backbone="vgg16", size=32), 3)  # preprocessing takes two layers here
    freeze_first(body, 2)  # its input and its first convolution
    assert [layer.trainable for layer in body.layers if isinstance(layer, keras.layers.Conv2D)][:2] == [False, True]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backbone": "mobilnet-v2"}, "unknown backbone 'mobilnet-v2': did you mean 'mobilenet_v2'?"),
        ({"backbone": "?"}, "the backbones are mobilenet, mobilenet_v2"),
        ({"backbone": "inception_v3", "width": 0.5}, "network.width must be 1 for inception_v3"),
        ({"backbone": "inception_v3", "size": 74}, "network.size must be from 75 to 1024 for inception_v3, not 74"),
        ({"backbone": "efficientnet_b0", "size": 100}, "must be a multiple of 32 for efficientnet_b0, not 100"),
    ],
)
def test_an_impossible_network_is_refused_in_one_line(changed: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as caught:
        check_pretrained(Network(**changed), "none")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_validation_grows_linearly_and_in_constant_memory(body: keras.Model, tmp_path: Path) -> None:
    """Every image is evaluated once, in batches of one shape, and the images are never all in memory."""
    given: list[int] = []

    class Counted:
        def predict_on_batch(self, images: np.ndarray) -> dict[str, np.ndarray]:
            given.append(len(images))
            return {"evidence": np.ones((len(images), 3, 3, 5), np.float32)}

    def peak(number: int) -> int:
        np.save(tmp_path / "pixels.npy", random_images(number))
        given.clear()
        tracemalloc.start()
        assert predict_logits(Counted(), np.load(tmp_path / "pixels.npy", mmap_mode="r")).shape == (number, 5)
        assert given == [32] * -(-number // 32)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(1000) < 1.2 * peak(100)


def test_logits_do_not_depend_on_the_batch_size(body: keras.Model) -> None:
    given = random_images(5)
    np.testing.assert_allclose(predict_logits(body, given, 2), predict_logits(body, given), atol=1e-5)
