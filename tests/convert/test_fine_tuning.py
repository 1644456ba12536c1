"""Fine-tuned variants: pruning, clustering, distillation, and handing a network to quantization-aware training."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType
from numpy.typing import NDArray

from spot_bench.run.progress import no_bar
from spot_bench.run.settings import Retraining, retraining_from
from spot_convert.engines.folding import fold
from spot_convert.modelfile.graph import unpack
from spot_convert.pipeline import convert_run
from spot_convert.quantize.compression import kept_weights, levels
from spot_convert.quantize.distillation import Weight, distil
from spot_convert.quantize.ranges import LEVELS
from spot_convert.run import Run, read_run
from spot_convert.runtimes.predictions import Environments
from spot_convert.variants import bodies
from spot_convert.variants.catalog import DEFAULT, VARIANTS
from spot_edge import read_model
from spot_edge.errors import DataError

FINE_TUNED = ("pruned-int8", "clustered-int8")


def int8_kernels(path: Path) -> list[NDArray[np.int8]]:
    """Return the int8 constants of a file, the largest first."""
    model = unpack(read_model(path).content)
    tensors = [tensor for tensor in model.subgraphs[0].tensors if tensor.type == TensorType.INT8]
    held = [data for tensor in tensors if (data := model.buffers[tensor.buffer].data) is not None]
    kernels = [np.asarray(data, np.uint8).view(np.int8) for data in held if len(data) > 1]
    return sorted(kernels, key=len, reverse=True)


def entries(family: Path) -> dict[str, dict]:
    return {entry["variant"]: entry for entry in json.loads((family / "report.json").read_text())["files"]}


def test_fine_tuned_files_are_int8_and_predict_like_float32(
    small_family: Path, small_file: Callable[[str], Path]
) -> None:
    for variant in FINE_TUNED:
        model = unpack(read_model(small_file(variant)).content).subgraphs[0]
        image = model.tensors[model.inputs[0]]
        assert image.type == TensorType.UINT8
        assert image.quantization.zeroPoint.tolist() == [128]
        np.testing.assert_allclose(image.quantization.scale, [1 / 127.5], rtol=0.01)
        assert entries(small_family)[variant]["comparison_on_validation"]["agreement"]["all"]["value"] > 0.5


def test_fine_tuned_files_compress_better(small_family: Path, small_file: Callable[[str], Path]) -> None:
    files = entries(small_family)
    for variant in (*FINE_TUNED, "int8"):
        content = small_file(variant).read_bytes()
        assert files[variant]["compressed_bytes"] == len(zlib.compress(content, 9))
    kernels = {name: b"".join(map(bytes, int8_kernels(small_file(name)))) for name in (*FINE_TUNED, "int8")}
    for variant in FINE_TUNED:  # of so small a network, the kernels are a minor part of the file
        assert len(zlib.compress(kernels[variant], 9)) < 0.9 * len(zlib.compress(kernels["int8"], 9))


def test_the_requested_share_of_the_weights_is_zero(small_file: Callable[[str], Path]) -> None:
    pruned, plain = (int8_kernels(small_file(name)) for name in ("pruned-int8", "int8"))
    shares = [np.mean(np.concatenate(kernels) == 0) for kernels in (pruned, plain)]
    assert shares[0] > 0.33  # of all weights, small layers included
    assert shares[1] < 0.15


def test_large_layers_hold_few_distinct_integers(small_file: Callable[[str], Path]) -> None:
    kernels = int8_kernels(small_file("clustered-int8"))
    assert len(np.unique(int8_kernels(small_file("int8"))[0])) > 31
    for kernel in kernels[:3]:
        values = np.unique(kernel)
        assert len(values) <= 31
        np.testing.assert_array_equal(values, -values[::-1])
        assert values[-1] == LEVELS


def test_fine_tuned_variants_are_not_made_by_default() -> None:
    assert not {"qat-int8", *FINE_TUNED} & set(DEFAULT)
    assert all(VARIANTS[name].integer and VARIANTS[name].fine_tuned for name in ("qat-int8", *FINE_TUNED))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"step": 3}, "unknown key 'step' of retrain; did you mean 'steps'?"),
        ({"steps": 0}, "retrain.steps must be a whole number from 1"),
        ({"steps": 2.5}, "retrain.steps"),
        ({"steps": True}, "retrain.steps"),
        ({"sparsity": 1.0}, "retrain.sparsity must be a number between 0 and 1"),
        ({"sparsity": float("nan")}, "retrain.sparsity"),
        ({"sparsity": "half"}, "retrain.sparsity"),
        ({"clusters": 16}, "retrain.clusters must be an odd number"),
        ({"clusters": 1}, "retrain.clusters"),
        ([], "retrain must be a table"),
    ],
)
def test_invalid_settings_are_one_line(table: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        retraining_from(table, "recipe.toml")
    assert str(caught.value).startswith("recipe.toml: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_come_from_the_recipe_of_the_run(changed_run: Callable[..., Path], tmp_path: Path) -> None:
    assert read_run(changed_run(recipe="[retrain]\nclusters = 7\n")).retraining == Retraining(clusters=7)
    with pytest.raises(DataError, match=r"recipe\.toml: unknown key 'cluster' of retrain"):
        convert_run(changed_run(recipe="[retrain]\ncluster = 7\n"), tmp_path / "out", log=print)


@pytest.mark.parametrize("engine", ["tensorflow", "litert"])
def test_a_compressed_network_is_quantized_by_the_chosen_engine(run: Run, engine: str) -> None:
    none = np.zeros((0, 48, 48, 3), np.uint8)
    compressed, seen = SimpleNamespace(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bodies._COMPRESSIONS, "pruned-int8", lambda run, training, advance: compressed)
        patch.setitem(bodies._ENGINES[engine], "int8", lambda changed, _: seen.append(changed.body) or b"quantized")
        built = bodies.build_body(VARIANTS["pruned-int8"], engine, run, none, none, None, print, no_bar)
    assert seen == [compressed]
    assert built.flatbuffer == b"quantized"


def test_qat_needs_the_python_of_its_environment(small_run: Path, tmp_path: Path) -> None:
    for python, message in (
        (None, "needs the Python of an environment with TF Model Optimization: name it with --qat"),
        (Path("/bin/false"), "not the Python of an environment with spot-edge-toolkit .*: no output"),
        (tmp_path / "nothing", "cannot be run: No such file"),
        (Path(sys.executable), "not the Python of .* and tensorflow-model-optimization: .*tf_keras"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            convert_run(
                small_run, tmp_path / "out", variants=["qat-int8"], environments=Environments(qat=python), log=print
            )
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_small_for_their_layer_are_pruned_first() -> None:
    large, small = np.array([9.0, 8.0, 7.0, -0.1]), np.array([[0.02, -0.001]])
    kept = kept_weights([large.astype(np.float32), small.astype(np.float32)], 2 / 6)
    assert kept[0].tolist() == [True, True, True, False]  # although it is larger than the 0.02 of the other layer
    assert kept[1].tolist() == [[True, False]]
    assert all(one.all() for one in kept_weights([large.astype(np.float32)], 0.0))


@pytest.mark.parametrize("clusters", [3, 7, 15, 255])
def test_levels_are_increasing_integers_with_zero_and_both_ends(clusters: int) -> None:
    kernel = np.random.default_rng(4).normal(size=(1, 1, 64, 32)).astype(np.float32)
    found = levels(kernel, clusters)
    whole = found * LEVELS
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-4)
    assert len(found) == clusters
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[clusters // 2], found[-1]) == (-1, 0, 1)


def network() -> keras.Model:
    """Every supported kind of layer, with a batch norm after both kinds of convolution."""
    keras.utils.set_random_seed(5)
    image = keras.Input((32, 32, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(image)
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(x)
    x = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization(name="first_BN")(x))
    x = keras.layers.DepthwiseConv2D(3, strides=2, use_bias=False, name="deep")(keras.layers.ZeroPadding2D(1)(x))
    x = keras.layers.BatchNormalization(name="deep_BN")(x)
    x = keras.layers.Add()([x, keras.layers.Conv2D(8, 1, name="side")(x)])
    features = keras.layers.MaxPooling2D()(x)
    evidence = keras.layers.Conv2D(3, 1, name="evidence")(keras.layers.Dropout(0.2)(features))
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(features)
    body = keras.Model(image, {"evidence": evidence, "embedding": embedding})
    random = np.random.default_rng(6)
    for name in ("first_BN", "deep_BN"):
        body.get_layer(name).set_weights([random.uniform(0.5, 2, 8) for _ in range(4)])
    return body


def rebuilt(body: keras.Model) -> keras.Model:
    """Rebuild the network from the result of `fold`, as the Keras of the other environment does."""
    folded = fold(body)
    image = keras.Input((32, 32, 3))
    given = {"": image}
    for entry in folded.layers:
        layer = getattr(keras.layers, entry["kind"])(name=entry["name"], **entry["settings"])
        inputs = [given[name] for name in entry["inputs"]]
        given[entry["name"]] = layer(inputs if len(inputs) > 1 else inputs[0])
        if layer.weights:
            layer.set_weights([folded.weights[f"{entry['name']}/{part}"] for part in ("kernel", "bias")])
    return keras.Model(image, {key: given[name] for key, name in folded.outputs.items()})


def test_a_folded_network_has_the_outputs_of_the_original() -> None:
    body = network()
    images = np.random.default_rng(7).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    wanted = body(images, training=False)
    body(keras.Input((32, 32, 3), dtype="uint8"))  # the converter, too, calls it on other inputs
    found = rebuilt(body)(images / np.float32(127.5) - 1, training=False)
    for key in ("evidence", "embedding"):
        np.testing.assert_allclose(found[key], wanted[key], rtol=1e-4, atol=1e-4)


def test_a_dead_channel_gets_a_weight_that_int8_can_express_its_bias_with() -> None:
    body = network()
    kernel = body.get_layer("first").get_weights()[0]
    kernel[..., 2] = 0
    body.get_layer("first").set_weights([kernel])
    folded = fold(body)
    largest = np.abs(folded.weights["first/kernel"][..., 2]).max()
    np.testing.assert_allclose(largest, 1e-4 * abs(folded.weights["first/bias"][2]), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            lambda x: keras.layers.Conv2DTranspose(8, 1, name="odd")(x),
            r"odd \(Conv2DTranspose\) is of an unsupported kind",
        ),
        (lambda x: keras.layers.BatchNormalization(name="odd")(x), r"odd \(BatchNormalization\) does not follow"),
        (
            lambda x: keras.layers.Conv2D(8, 1, activation="swish", name="odd")(x),
            r"odd \(Conv2D\) has its own activation",
        ),
    ],
)
def test_an_unsupported_layer_is_named(layer: Callable[..., object], message: str) -> None:
    image = keras.Input((32, 32, 3), dtype="uint8")
    x = layer(keras.layers.ReLU()(keras.layers.Rescaling(1 / 255)(image)))
    outputs = {"evidence": keras.layers.Conv2D(3, 1)(x), "embedding": keras.layers.GlobalAveragePooling2D()(x)}
    with pytest.raises(DataError, match=message) as caught:
        fold(keras.Model(image, outputs))
    assert "\n" not in str(caught.value)


def test_distillation_repairs_a_damaged_network() -> None:
    teacher = network()
    student = keras.models.clone_model(teacher)
    student.set_weights(teacher.get_weights())
    kernel, bias = student.get_layer("evidence").get_weights()
    student.get_layer("evidence").set_weights([kernel * 0.8, bias + 0.3])
    images = np.random.default_rng(8).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)

    def difference() -> float:
        found, wanted = (np.asarray(one(images, training=False)["evidence"]) for one in (student, teacher))
        return float(np.abs(found - wanted).mean())

    before, done = difference(), []
    distil(
        lambda batch: student(batch, training=False),
        lambda batch: teacher(batch, training=False),
        [Weight(one.value, 3 if one.name == "kernel" else None) for one in student.get_layer("evidence").weights],
        images,
        steps=40,
        rate=0.02,
        advance=done.append,
    )
    assert sum(done) == 40
    assert difference() < before / 2
