"""`convert_run` and the files that it makes."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner

from spot_bench.data.drawn import draw_shapes
from spot_convert.checks.image_quality import AXES
from spot_convert.checks.parity import Parity, operator_names
from spot_convert.commands.convert import convert
from spot_convert.modelfile.graph import pack, unpack
from spot_convert.pipeline import convert_run
from spot_convert.run import Run
from spot_convert.runtimes.predictions import Environments
from spot_convert.variants.catalog import DEFAULT, VARIANTS, choose_variants
from spot_edge import Classifier, read_model
from spot_edge.errors import CheckError, DataError, OutputError
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.spec import ImageSpec
from spot_edge.prediction.ood import MEMBER, read_ood_reference

KINDS = ("circle", "square", "triangle")
SIZE, FEATURES = 48, 64  # of the small network


def test_every_variant_keeps_the_model_file_contract(small_family: Path, small_file: Callable[[str], Path]) -> None:
    report = json.loads((small_family / "report.json").read_text())
    variants = [entry["variant"] for entry in report["files"]]
    assert set(DEFAULT) < set(variants)
    for variant in variants:
        model = read_model(small_file(variant))
        assert model.spec.variant == variant
        assert tuple(label.label for label in model.spec.labels) == KINDS
        assert list(model.signature.outputs) == ["scores", "evidence", "embedding"]
        graph = unpack(model.content)
        assert list(graph.subgraphs[0].outputs) == [entry.tensorIndex for entry in graph.signatureDefs[0].outputs]
        assert model.spec.conformal is not None
        assert set(model.spec.conformal.classes) == set(KINDS)
        assert model.spec.image_quality is None  # too few validation images for limits
        assert read_ood_reference(model.members[MEMBER], FEATURES, variant).rest > 0


def test_int8_has_an_integer_body_and_a_float_tail(small_file: Callable[[str], Path]) -> None:
    operators = operator_names(read_model(small_file("int8")).content)
    assert operators[0] == "QUANTIZE"  # the pixel scaling became the quantization of the input
    assert operators[-3:] == ["MEAN", "DIV", "SOFTMAX"]
    assert not {"CAST", "CUSTOM", "VAR_HANDLE"} & set(operators)


@pytest.mark.parametrize("variant", [*DEFAULT, "int16x8", "int4", "int8-mixed"])
def test_scores_are_the_softmax_of_mean_evidence_over_temperature(
    small_file: Callable[[str], Path], variant: str
) -> None:
    model = read_model(small_file(variant))
    image = np.random.default_rng(2).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    found = Interpreter(model).invoke(image)
    logits = found["evidence"].mean(axis=(0, 1)) / model.spec.temperature
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(found["scores"], expected / expected.sum(), atol=1e-5)
    assert model.spec.temperature != 1  # else this would not see a missing division


def test_the_temperature_is_a_buffer_of_four_bytes(small_file: Callable[[str], Path]) -> None:
    model = read_model(small_file("int8"))
    graph = unpack(model.content)
    held = [graph.buffers[t.buffer].data for t in graph.subgraphs[0].tensors if t.name == b"tail/temperature"]
    assert [np.array(data, np.uint8).tobytes() for data in held] == [np.float32(model.spec.temperature).tobytes()]


def test_constants_are_aligned_to_sixteen_bytes(small_file: Callable[[str], Path]) -> None:
    content = read_model(small_file("float32")).content
    large = [buffer for buffer in unpack(content).buffers if buffer.data is not None and len(buffer.data) > 64]
    assert len(large) > 10
    for buffer in large:
        assert content.index(np.array(buffer.data, np.uint8).tobytes()) % 16 == 0


def test_the_report_describes_every_file(small_family: Path, small_file: Callable[[str], Path]) -> None:
    report = json.loads((small_family / "report.json").read_text())
    assert (report["schema"], report["calibration"]) == (1, {"images": 24, "seed": 0})
    assert report["retraining"] == {"steps": 10, "sparsity": 0.4, "clusters": 31}
    baseline = read_model(small_file("float32"))
    for entry in report["files"]:
        path = small_file(entry["variant"])
        assert entry["bytes"] == path.stat().st_size
        assert math.isfinite(entry["temperature"])
        drift = read_model(path).spec.drift
        if entry["variant"] == "float32":
            assert drift is None
            assert entry["parity_with_keras"]["largest"] <= 1e-4
            continue
        assert drift is not None
        assert drift.against == baseline.id
        assert entry["drift"]["verdict"] == drift.verdict
        assert (path.parent.name == "failed") == (drift.verdict == "fail")
        assert entry["comparison_on_validation"]["other"]["model"]["id"] == entry["id"]
        assert set(entry["comparison_on_validation"]["classes"]) == set(KINDS)


def test_embeddings_are_summarized_by_class_means_and_axes(small_file: Callable[[str], Path]) -> None:
    with zipfile.ZipFile(small_file("int8")) as members, members.open("embedding.npz") as file:
        stored = dict(np.load(file))
    assert stored["means"].shape == (3, FEATURES)
    assert stored["axes"].shape == (AXES, FEATURES)
    assert np.isfinite(stored["means"]).all()
    np.testing.assert_allclose(stored["axes"].astype(float) @ stored["axes"].T.astype(float), np.eye(AXES), atol=0.01)


def test_labels_without_malignant_classes_give_no_operating_points(
    small_run: Path, small_file: Callable[[str], Path]
) -> None:
    classifier = Classifier.load(small_file("int8"))
    assert classifier.model.spec.operating_points == ()
    image = next((small_run / "images" / "circle").iterdir())
    assert classifier.classify(image).triage is None


@pytest.mark.long
def test_the_same_run_gives_the_same_bytes(small_run: Path, small_file: Callable[[str], Path], tmp_path: Path) -> None:
    convert_run(small_run, tmp_path, variants=["int8", "clustered-int8"], log=print)
    for variant in ("int8", "clustered-int8"):
        again = next(tmp_path.rglob(f"small-{variant}.tflite"))
        assert again.read_bytes() == small_file(variant).read_bytes()


def test_existing_files_are_never_overwritten(small_run: Path, small_family: Path) -> None:
    with pytest.raises(OutputError, match="already exists"):
        convert_run(small_run, small_family, log=print)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variants": ["int9"]}, r"'int9' \(did you mean 'int8'\?\): choose from float32, float16, dynamic, int8, "),
        ({"variants": []}, "no variant given"),
        ({"engine": "toco"}, "unknown engine 'toco': choose tensorflow or litert"),
        ({"engine": "litert"}, "'litert' cannot make float32, only tensorflow can"),
        ({"variants": ["int8-tflite-runtime"]}, "needs the Python of an environment"),
        (
            {"variants": ["int8-tflite-runtime"], "environments": Environments(tflite_runtime=Path("/bin/false"))},
            "not the Python of an environment with spot-edge-toolkit",
        ),
    ],
)
def test_unusable_options_are_reported_before_any_work(
    small_run: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        convert_run(small_run, tmp_path / "out", log=print, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_a_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        convert_run(tmp_path, tmp_path / "out", log=print)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 9}, "schema 9"),
        ({"data": None}, "name it with --data"),
        ({"data": "/nowhere/at/all"}, "no such folder: name the folder"),
        ({"labels": [{"label": "one", "name": "one"}]}, "evidence for 1 classes"),
        ({"labels": [{"lable": "one"}]}, "missing or unknown entry"),
        ({"image": {"size": 128}}, r"must be uint8\[128,128,3\]"),
        ({"image": {"size": 48, "geometry": "crop"}}, "unknown image geometry 'crop'. It must be one of stretch, "),
        ({"name": "../../etc"}, "invalid name '../../etc'"),
    ],
)
def test_an_edited_run_is_reported(
    small_run: Path, changed_run: Callable[..., Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    about = json.loads((small_run / "run.json").read_text())
    with pytest.raises(DataError, match=message):
        convert_run(changed_run(run=json.dumps(about | change)), tmp_path / "out", log=print)


def test_files_have_the_image_geometry_of_their_run(
    small_run: Path, changed_run: Callable[..., Path], tmp_path: Path
) -> None:
    about = json.loads((small_run / "run.json").read_text())
    about["image"] |= {"geometry": "stretch-reduced-jpeg"}
    run = changed_run(run=json.dumps(about))
    (made,) = convert_run(run, tmp_path / "out", variants=["float32"], log=print)
    assert made.model.spec.image == ImageSpec(48, "stretch-reduced-jpeg")


@pytest.mark.parametrize(
    ("split", "variants", "message"),
    [
        ("calibrate", DEFAULT, "only 3 calibration images, but int8 needs at least 8"),
        ("train", ["pruned-int8"], "only 3 training images, but fine-tuned variants need at least 8"),
    ],
)
def test_too_few_images_are_reported(
    small_run: Path, changed_run: Callable[..., Path], tmp_path: Path, split: str, variants: list[str], message: str
) -> None:
    rows = (small_run / "split.csv").read_text().splitlines()
    own = [row for row in rows if row.endswith(f",{split}")]
    run = changed_run(split="\n".join(row for row in rows if row not in own[3:]) + "\n")
    with pytest.raises(DataError, match=message):
        convert_run(run, tmp_path / "out", variants=variants, log=print)
    assert not (tmp_path / "out").exists()


def test_the_data_option_replaces_the_folder_in_the_run(small_run: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "elsewhere", per_class=2)
    with pytest.raises(DataError, match="images do not exist"):
        convert_run(small_run, tmp_path / "out", data=tmp_path / "elsewhere", log=print)


def test_margins_come_from_the_recipe_and_typing_errors_are_reported(
    changed_run: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="gate"):
        convert_run(changed_run(recipe="[gate]\nagreemnt = 0.5\n"), tmp_path / "out", log=print)


def test_a_file_beyond_its_margins_goes_to_the_failed_folder(
    run: Run, changed_run: Callable[..., Path], tmp_path: Path
) -> None:
    damaged = keras.models.clone_model(run.body)

    def damage(body: keras.Model, calibration: np.ndarray) -> keras.Model:
        """Return, instead of the corrected network, one that misses every other circle."""
        logits = body.predict_on_batch(calibration)["evidence"].mean(axis=(1, 2))
        lead = logits[:, 0] - logits[:, 1:].max(axis=1)
        damaged.set_weights(body.get_weights())
        kernel, bias = body.get_layer("evidence").get_weights()
        damaged.get_layer("evidence").set_weights([kernel, bias - [np.median(lead[lead > 0]), 0, 0]])
        return damaged

    out = tmp_path / "out"
    folder = changed_run(recipe="[gate]\nece = 0.5\nagreement = 0.99\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spot_convert.engines.tflite_converter.corrected_body", damage)
        patch.setattr(Parity, "require", lambda *bounds: None)  # it would detect this on the calibration images
        options = ["--out", str(out), "--variants", "float32,int8", "--engine", "tensorflow"]
        done = CliRunner().invoke(convert, [str(folder), *options])
    assert isinstance(done.exception, CheckError)
    assert "small-int8.tflite: failed the drift gate" in str(done.exception)
    assert [path.name for path in sorted(out.iterdir())] == ["failed", "report.json", "small-float32.tflite"]
    failed = read_model(out / "failed" / "small-int8.tflite")
    assert failed.spec.drift is not None
    assert failed.spec.drift.verdict == "fail"
    report = json.loads((out / "report.json").read_text())
    assert [entry["drift"] and entry["drift"]["verdict"] for entry in report["files"]] == [None, "fail"]


def test_litert_quantizer_is_the_default_wherever_it_can_be() -> None:
    chosen = choose_variants([*VARIANTS])
    others = {name for name, engine in chosen.items() if engine != "litert"}
    assert others == {"float32", "qat-int8", "dynamic-tflite-runtime"}


@pytest.mark.parametrize("engine", ["tensorflow", "litert"])
def test_the_input_takes_grey_levels_from_0_to_255(
    small_run: Path, tmp_path: Path, small_file: Callable[[str], Path], engine: str
) -> None:
    """Calibration with images divided by 255 would leave an input that treats all but black as its brightest value."""
    file = small_file("int8")
    if engine == "tensorflow":
        convert_run(small_run, tmp_path / "out", variants=["int8"], engine=engine, log=print)
        file = next((tmp_path / "out").rglob("small-int8.tflite"))
    model = read_model(file)
    graph = unpack(model.content).subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    assert image.quantization.zeroPoint.tolist() == [128]
    np.testing.assert_allclose(image.quantization.scale, [1 / 127.5], rtol=0.01)
    assert operator_names(model.content)[0] == "QUANTIZE"
    assert operator_names(model.content)[-3:] == ["MEAN", "DIV", "SOFTMAX"]


def test_weights_behind_the_flatbuffer_are_moved_into_it() -> None:
    def packed(offset: int) -> bytes:
        weights = schema.BufferT()
        weights.offset, weights.size = offset, 5
        model = schema.ModelT()
        model.version, model.buffers, model.subgraphs = 3, [schema.BufferT(), weights], []
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    content = packed(len(packed(1_000))) + b"spots"
    unpacked = unpack(content)
    assert bytes(unpacked.buffers[1].data) == b"spots"
    assert bytes(unpack(pack(unpacked)).buffers[1].data) == b"spots"
    with pytest.raises(CheckError, match="truncated"):
        unpack(content[:-1])


def test_evidence_embedding_and_tail_cost_less_than_eight_kilobytes(
    run: Run, small_file: Callable[[str], Path]
) -> None:
    """Compare with the same network, with scores as its only output, from the same converter."""
    image = keras.Input(batch_shape=(1, SIZE, SIZE, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(run.body(image)["evidence"])
    alone = keras.Model(image, keras.layers.Softmax()(pooled), name="float_body")  # tensors are named after it
    plain = tf.lite.TFLiteConverter.from_keras_model(alone).convert()
    ours = pack(unpack(read_model(small_file("float32")).content))
    assert 0 < len(ours) - len(plain) < 8_000
