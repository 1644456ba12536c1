"""The variants that train: what they store, what they refuse, and that they are right end to end."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.schema_py_generated import TensorType
from click.testing import CliRunner
from numpy.typing import NDArray

from spot_bench.run.progress import no_bar
from spot_bench.run.settings import Retraining, retraining_from
from spot_convert.commands.convert import convert
from spot_convert.engines.folding import fold
from spot_convert.modelfile.graph import unpack
from spot_convert.pipeline import convert_run
from spot_convert.quantize.compression import kept_weights, levels
from spot_convert.quantize.distillation import Weight, distil
from spot_convert.quantize.ranges import LEVELS
from spot_convert.run import read_run
from spot_convert.runtimes.predictions import Environments
from spot_convert.variants import bodies
from spot_convert.variants.catalog import DEFAULT, VARIANTS
from spot_edge import read_model
from spot_edge.errors import CheckError, DataError

TRAINED = ("pruned-int8", "clustered-int8")
SETTINGS = "steps = 20\nsparsity = 0.4\nclusters = 31"


def run_with(run: Path, folder: Path, retrain: str) -> Path:
    """The same run with another table `[retrain]` in its recipe."""
    folder.mkdir()
    for name in ("run.json", "split.csv", "model.keras"):
        (folder / name).symlink_to(run / name)
    recipe, _, _ = (run / "recipe.toml").read_text().partition("[retrain]")
    (folder / "recipe.toml").write_text(f"{recipe}\n[retrain]\n{retrain}\n")
    return folder


@pytest.fixture(scope="module")
def family(shapes_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pruned and clustered, and the plain int8 file beside them."""
    folder = tmp_path_factory.mktemp("trained")
    run = run_with(shapes_run, folder / "run", SETTINGS)
    done = CliRunner().invoke(
        convert, [str(run), "--out", str(folder / "out"), "--variants", "int8,pruned-int8,clustered-int8"]
    )
    # So few steps may not be enough for the gate; the files are there all the same.
    assert done.exception is None or isinstance(done.exception, CheckError), done.output
    assert "MB compressed" in done.output
    return folder / "out"


def int8_kernels(path: Path) -> list[NDArray[np.int8]]:
    """The int8 constants of a file, the largest first."""
    model = unpack(read_model(path).content)
    tensors = [tensor for tensor in model.subgraphs[0].tensors if tensor.type == TensorType.INT8]
    held = [data for tensor in tensors if (data := model.buffers[tensor.buffer].data) is not None]
    kernels = [np.asarray(data, np.uint8).view(np.int8) for data in held if len(data) > 1]
    return sorted(kernels, key=len, reverse=True)


def test_the_files_are_int8_files_that_answer_like_the_run(family: Path) -> None:
    report = json.loads((family / "report.json").read_text())
    files = {entry["variant"]: entry for entry in report["files"]}
    assert set(files) == {"int8", *TRAINED}
    assert report["retraining"] == {"steps": 20, "sparsity": 0.4, "clusters": 31}
    for variant in TRAINED:
        path = next(family.rglob(f"shapes-{variant}.tflite"))
        model = unpack(read_model(path).content).subgraphs[0]
        image = model.tensors[model.inputs[0]]
        assert image.type == TensorType.UINT8
        assert image.quantization.zeroPoint.tolist() == [128]
        np.testing.assert_allclose(image.quantization.scale, [1 / 127.5], rtol=0.01)
        assert list(read_model(path).signature.outputs) == ["scores", "evidence", "embedding"]
        assert files[variant]["comparison_on_validation"]["agreement"]["all"]["value"] > 0.5


def test_they_take_fewer_bytes_once_compressed_and_the_report_says_how_many(family: Path) -> None:
    files = {entry["variant"]: entry for entry in json.loads((family / "report.json").read_text())["files"]}
    for variant, entry in files.items():
        content = next(family.rglob(f"shapes-{variant}.tflite")).read_bytes()
        assert entry["compressed_bytes"] == len(zlib.compress(content, 9))
    for variant in TRAINED:
        assert files[variant]["compressed_bytes"] < 0.9 * files["int8"]["compressed_bytes"]


def test_the_wanted_share_of_the_stored_weights_is_nought(family: Path) -> None:
    pruned, plain = (int8_kernels(next(family.rglob(f"shapes-{name}.tflite"))) for name in ("pruned-int8", "int8"))
    shares = [np.mean(np.concatenate(kernels) == 0) for kernels in (pruned, plain)]
    assert shares[0] > 0.36  # of all weights, those of the small layers among them
    assert shares[1] < 0.15


def test_the_large_layers_hold_few_different_whole_numbers(family: Path) -> None:
    kernels = int8_kernels(next(family.rglob("shapes-clustered-int8.tflite")))
    for kernel in kernels[:10]:
        values = np.unique(kernel)
        assert len(values) <= 31
        np.testing.assert_array_equal(values, -values[::-1])
        assert values[-1] == LEVELS


def test_the_same_run_gives_the_same_file(shapes_run: Path, family: Path, tmp_path: Path) -> None:
    run = run_with(shapes_run, tmp_path / "run", SETTINGS)
    convert_run(run, tmp_path / "out", variants=["clustered-int8"], log=print)
    again = next((tmp_path / "out").rglob("*-clustered-int8.tflite"))
    assert again.read_bytes() == next(family.rglob("shapes-clustered-int8.tflite")).read_bytes()


def test_they_are_made_only_when_asked_for() -> None:
    assert not {"qat-int8", *TRAINED} & set(DEFAULT)
    assert all(VARIANTS[name].integer and VARIANTS[name].fine_tuned for name in ("qat-int8", *TRAINED))


@pytest.mark.parametrize(
    ("table", "said"),
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
def test_settings_that_cannot_be_are_one_line(table: object, said: str) -> None:
    with pytest.raises(DataError) as caught:
        retraining_from(table, "recipe.toml")
    assert str(caught.value).startswith("recipe.toml: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_come_from_the_runs_recipe(shapes_run: Path, tmp_path: Path) -> None:
    run = run_with(shapes_run, tmp_path / "run", "clusters = 7")
    assert read_run(run).retraining == Retraining(clusters=7)
    with pytest.raises(DataError, match=r"recipe\.toml: unknown key 'cluster' of retrain"):
        convert_run(run_with(shapes_run, tmp_path / "bad", "cluster = 7"), tmp_path / "out", log=print)


def test_training_pictures_must_be_there(shapes_run: Path, tmp_path: Path) -> None:
    run = run_with(shapes_run, tmp_path / "run", "steps = 1")
    rows = (shapes_run / "split.csv").read_text().splitlines()
    training = [row for row in rows if row.endswith(",train")]
    (run / "split.csv").unlink()
    (run / "split.csv").write_text("\n".join(row for row in rows if row not in training[3:]) + "\n")
    with pytest.raises(DataError, match="3 training images to fine-tune with"):
        convert_run(run, tmp_path / "out", variants=["pruned-int8"], log=print)
    assert not (tmp_path / "out").exists()


def test_a_changed_network_is_rounded_by_the_engine_that_was_chosen(shapes_run: Path) -> None:
    run, none = read_run(shapes_run), np.zeros((0, 96, 96, 3), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bodies._COMPRESSIONS, "pruned-int8", lambda run, training, advance: "the pruned network")
        seen: list[object] = []
        body = trained.trained_body(
            "pruned-int8", run, none, none, None, no_bar, lambda changed, _: seen.append(changed.body) or b"rounded"
        )
    assert (seen, body) == (["the pruned network"], b"rounded")


def test_qat_needs_the_python_of_its_environment(shapes_run: Path, tmp_path: Path) -> None:
    for qat, said in (
        (None, "in an environment of its own: name its Python with --qat"),
        (Path("/bin/false"), "not the Python of an environment with spot-edge-toolkit .*: no answer"),
        (tmp_path / "nothing", "cannot be run: No such file"),
        (Path(sys.executable), "not the Python of .* and tensorflow-model-optimization: .*tf_keras"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            convert_run(
                shapes_run, tmp_path / "out", variants=["qat-int8"], environments=Environments(qat=qat), log=print
            )
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_weighs_least_in_its_layer_goes_first() -> None:
    large, small = np.array([9.0, 8.0, 7.0, -0.1]), np.array([[0.02, -0.001]])
    kept = kept_weights([large.astype(np.float32), small.astype(np.float32)], 2 / 6)
    assert kept[0].tolist() == [True, True, True, False]  # though it is larger than the 0.02 of the other layer
    assert kept[1].tolist() == [[True, False]]
    assert all(one.all() for one in kept_weights([large.astype(np.float32)], 0.0))


@pytest.mark.parametrize("clusters", [3, 7, 15, 255])
def test_levels_are_rising_whole_numbers_with_nought_and_both_ends(clusters: int) -> None:
    kernel = np.random.default_rng(4).normal(size=(1, 1, 64, 32)).astype(np.float32)
    found = levels(kernel, clusters)
    whole = found * LEVELS
    np.testing.assert_allclose(whole, np.round(whole), atol=1e-4)
    assert len(found) == clusters
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[clusters // 2], found[-1]) == (-1, 0, 1)


def network() -> keras.Model:
    """Every kind of layer that can be handed over, with a batch norm behind both kinds of convolution."""
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
    """The network that the data of `fold` describe, as the other environment's Keras builds it."""
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


def test_a_folded_network_answers_as_the_one_it_was_made_from() -> None:
    body = network()
    pictures = np.random.default_rng(7).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    wanted = body(pictures, training=False)
    body(keras.Input((32, 32, 3), dtype="uint8"))  # called elsewhere meanwhile, as the converter does
    found = rebuilt(body)(pictures / np.float32(127.5) - 1, training=False)
    for key in ("evidence", "embedding"):
        np.testing.assert_allclose(found[key], wanted[key], rtol=1e-4, atol=1e-4)


def test_a_dead_channel_is_handed_over_with_a_weight_that_its_bias_can_be_counted_in() -> None:
    body = network()
    kernel = body.get_layer("first").get_weights()[0]
    kernel[..., 2] = 0
    body.get_layer("first").set_weights([kernel])
    folded = fold(body)
    largest = np.abs(folded.weights["first/kernel"][..., 2]).max()
    np.testing.assert_allclose(largest, 1e-4 * abs(folded.weights["first/bias"][2]), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (lambda x: keras.layers.Conv2DTranspose(8, 1, name="odd")(x), r"odd \(Conv2DTranspose\) is of a kind"),
        (lambda x: keras.layers.BatchNormalization(name="odd")(x), r"odd \(BatchNormalization\) is not behind"),
        (lambda x: keras.layers.Conv2D(8, 1, activation="swish", name="odd")(x), r"odd \(Conv2D\) has an activation"),
    ],
)
def test_a_layer_that_cannot_be_handed_over_is_named(layer: Callable[..., object], said: str) -> None:
    image = keras.Input((32, 32, 3), dtype="uint8")
    x = layer(keras.layers.ReLU()(keras.layers.Rescaling(1 / 255)(image)))
    outputs = {"evidence": keras.layers.Conv2D(3, 1)(x), "embedding": keras.layers.GlobalAveragePooling2D()(x)}
    with pytest.raises(DataError, match=said) as caught:
        fold(keras.Model(image, outputs))
    assert "\n" not in str(caught.value)


def test_distilling_brings_a_damaged_network_back_towards_the_one_it_was_made_from() -> None:
    teacher = network()
    student = keras.models.clone_model(teacher)
    student.set_weights(teacher.get_weights())
    kernel, bias = student.get_layer("evidence").get_weights()
    student.get_layer("evidence").set_weights([kernel * 0.8, bias + 0.3])
    pictures = np.random.default_rng(8).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)

    def apart() -> float:
        found, wanted = (np.asarray(one(pictures, training=False)["evidence"]) for one in (student, teacher))
        return float(np.abs(found - wanted).mean())

    before, done = apart(), []
    distil(
        lambda batch: student(batch, training=False),
        lambda batch: teacher(batch, training=False),
        [Weight(one.value, 3 if one.name == "kernel" else None) for one in student.get_layer("evidence").weights],
        pictures,
        steps=40,
        rate=0.02,
        advance=done.append,
    )
    assert sum(done) == 40
    assert apart() < before / 2
