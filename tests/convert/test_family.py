"""The family made from a small run: every file is what it says it is."""

from __future__ import annotations

import json
import math
import zipfile
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
from spot_convert.runtimes.predictions import Environments
from spot_convert.variants.catalog import VARIANTS as REGISTERED
from spot_convert.variants.catalog import choose_variants
from spot_edge import Classifier, read_model
from spot_edge.errors import CheckError, DataError, OutputError
from spot_edge.model.interpreter import Interpreter
from spot_edge.prediction.ood import MEMBER, read_ood_reference

VARIANTS = ("float32", "float16", "dynamic", "int8")


def test_every_variant_opens_as_a_model_file_with_the_contracts_shapes(shapes_family: Path) -> None:
    for variant in VARIANTS:
        model = read_model(shapes_family / f"shapes-{variant}.tflite")
        assert model.spec.variant == variant
        assert [label.label for label in model.spec.labels] == ["circle", "square", "triangle"]
        assert list(model.signature.outputs) == ["scores", "evidence", "embedding"]
        assert list(unpack(model.content).subgraphs[0].outputs) == [
            entry.tensorIndex for entry in unpack(model.content).signatureDefs[0].outputs
        ]


def test_the_int8_body_is_integer_and_its_tail_is_float(shapes_family: Path) -> None:
    operators = operator_names(read_model(shapes_family / "shapes-int8.tflite").content)
    assert operators[0] == "QUANTIZE"  # the pixel scaling became the quantization of the input
    assert operators[-3:] == ["MEAN", "DIV", "SOFTMAX"]
    assert not {"CAST", "CUSTOM", "VAR_HANDLE"} & set(operators)


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_are_the_softmax_of_the_mean_evidence_over_the_temperature(shapes_family: Path, variant: str) -> None:
    model = read_model(shapes_family / f"shapes-{variant}.tflite")
    picture = np.random.default_rng(2).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    found = Interpreter(model).invoke(picture)
    logits = found["evidence"].mean(axis=(0, 1)) / model.spec.temperature
    expected = np.exp(logits - logits.max())
    np.testing.assert_allclose(found["scores"], expected / expected.sum(), atol=1e-5)


def test_the_temperature_is_a_buffer_of_four_bytes(shapes_family: Path) -> None:
    model = read_model(shapes_family / "shapes-int8.tflite")
    graph = unpack(model.content)
    held = [graph.buffers[t.buffer].data for t in graph.subgraphs[0].tensors if t.name == b"tail/temperature"]
    assert len(held) == 1
    assert np.array(held[0], np.uint8).tobytes() == np.float32(model.spec.temperature).tobytes()


def test_constants_lie_on_sixteen_byte_boundaries(shapes_family: Path) -> None:
    content = read_model(shapes_family / "shapes-float32.tflite").content
    for buffer in unpack(content).buffers:
        if buffer.data is not None and len(buffer.data) > 64:
            data = np.array(buffer.data, np.uint8).tobytes()
            assert content.index(data) % 16 == 0


def test_the_report_says_what_was_checked(shapes_family: Path) -> None:
    report = json.loads((shapes_family / "report.json").read_text())
    assert report["schema"] == 1
    for entry in report["files"]:
        assert entry["bytes"] == (shapes_family / entry["file"]).stat().st_size
        assert math.isfinite(entry["temperature"])
    float32 = next(entry for entry in report["files"] if entry["variant"] == "float32")
    assert float32["parity_with_keras"]["largest"] <= 1e-4


def test_a_set_without_malignant_classes_has_no_operating_points(shapes_family: Path, shapes: Path) -> None:
    classifier = Classifier.load(shapes_family / "shapes-int8.tflite")
    assert classifier.model.spec.operating_points == ()
    assert classifier.classify(next((shapes / "circle").iterdir())).triage.category == "cannot assess"


def test_the_same_run_gives_the_same_bytes(shapes_run: Path, shapes_family: Path, tmp_path: Path) -> None:
    convert_run(shapes_run, tmp_path, variants=["int8"], log=print)
    assert (tmp_path / "shapes-int8.tflite").read_bytes() == (shapes_family / "shapes-int8.tflite").read_bytes()


def test_a_file_that_exists_is_never_overwritten(shapes_run: Path, shapes_family: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        convert_run(shapes_run, shapes_family, log=print)


def test_an_unknown_variant_lists_the_known_ones(shapes_run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"'int9' \(did you mean 'int8'\?\): known are float32, float16, dynamic, int8, "
    ):
        convert_run(shapes_run, tmp_path / "out", variants=["int9"], log=print)
    with pytest.raises(DataError, match="unknown engine 'toco': known are tensorflow, litert"):
        convert_run(shapes_run, tmp_path / "out", engine="toco", log=print)
    with pytest.raises(DataError, match="float32 is not made by 'litert', only by tensorflow"):
        convert_run(shapes_run, tmp_path / "out", engine="litert", log=print)
    with pytest.raises(DataError, match="name the Python of an environment"):
        convert_run(shapes_run, tmp_path / "out", variants=["int8-tflite-runtime"], log=print)
    with pytest.raises(DataError, match="not the Python of an environment with spot-edge-toolkit"):
        convert_run(
            shapes_run,
            tmp_path / "out",
            variants=["int8-tflite-runtime"],
            environments=Environments(tflite_runtime=Path("/bin/false")),
            log=print,
        )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        convert_run(tmp_path, tmp_path / "out", log=print)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 9}, "schema 9"),
        ({"data": None}, "say --data"),
        ({"data": "/nowhere/at/all"}, "no such folder of images"),
        ({"labels": [{"label": "one", "name": "one"}]}, "evidence for 1 classes"),
        ({"image": {"size": 128}}, r"not uint8\[128,128,3\]"),
    ],
)
def test_a_run_that_was_tampered_with_is_refused(
    shapes_run: Path, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    for name in ("split.csv", "model.keras", "recipe.toml"):
        (tmp_path / name).symlink_to(shapes_run / name)
    about = json.loads((shapes_run / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(about | change))
    with pytest.raises(DataError, match=said):
        convert_run(tmp_path, tmp_path / "out", log=print)


def test_too_few_images_to_calibrate_are_refused(shapes_run: Path, tmp_path: Path) -> None:
    for name in ("run.json", "model.keras", "recipe.toml"):
        (tmp_path / name).symlink_to(shapes_run / name)
    rows = (shapes_run / "split.csv").read_text().splitlines()
    calibrating = [row for row in rows if row.endswith(",calibrate")]
    kept = [row for row in rows if row not in calibrating[3:]]
    (tmp_path / "split.csv").write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match="3 images to calibrate with"):
        convert_run(tmp_path, tmp_path / "out", log=print)


def test_data_given_by_hand_win_over_what_the_run_says(shapes_run: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "elsewhere", per_class=2)
    with pytest.raises(DataError, match="images do not exist"):
        convert_run(shapes_run, tmp_path / "out", data=tmp_path / "elsewhere", log=print)


def changed_run(run: Path, folder: Path, gate: str) -> Path:
    """The same run with another table `[gate]` in its recipe."""
    folder.mkdir()
    for name in ("run.json", "split.csv", "model.keras"):
        (folder / name).symlink_to(run / name)
    (folder / "recipe.toml").write_text((run / "recipe.toml").read_text().partition("[gate]")[0] + gate)
    return folder


def test_a_file_beyond_its_margins_is_kept_apart_and_the_command_fails(shapes_run: Path, tmp_path: Path) -> None:
    run = changed_run(shapes_run, tmp_path / "run", "[gate]\nece = 0.5\nagreement = 0.99\n")
    out = tmp_path / "out"
    damaged = keras.saving.load_model(run / "model.keras", compile=False)

    def damage(body: keras.Model, calibration: np.ndarray) -> keras.Model:
        """What the converter takes for the corrected network: one that misses every other circle."""
        logits = body.predict_on_batch(calibration)["evidence"].mean(axis=(1, 2))
        ahead = logits[:, 0] - logits[:, 1:].max(axis=1)
        kernel, bias = body.get_layer("evidence").get_weights()
        bias[0] -= np.median(ahead[ahead > 0])
        damaged.get_layer("evidence").set_weights([kernel, bias])
        return damaged

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spot_convert.engines.tflite_converter.corrected_body", damage)
        patch.setattr(Parity, "require", lambda *bounds: None)  # whose dozen pictures would see it first
        wanted = ["--variants", "float32,int8", "--engine", "tensorflow"]
        done = CliRunner().invoke(convert, [str(run), "--out", str(out), *wanted])
    assert isinstance(done.exception, CheckError)
    assert "shapes-int8.tflite: worse than float32 beyond the margins" in str(done.exception)
    assert [path.name for path in sorted(out.iterdir())] == ["failed", "report.json", "shapes-float32.tflite"]
    refused = read_model(out / "failed" / "shapes-int8.tflite")
    assert refused.spec.drift is not None
    assert refused.spec.drift.verdict == "fail"
    report = json.loads((out / "report.json").read_text())
    assert [entry["drift"] and entry["drift"]["verdict"] for entry in report["files"]] == [None, "fail"]


def test_margins_come_from_the_runs_recipe_and_a_typo_in_them_is_refused(shapes_run: Path, tmp_path: Path) -> None:
    run = changed_run(shapes_run, tmp_path / "run", "[gate]\nagreemnt = 0.5\n")
    with pytest.raises(DataError, match="its gate must be a table of balanced_accuracy, recall, agreement"):
        convert_run(run, tmp_path / "out", log=print)


def test_every_quantized_file_says_what_it_lost(shapes_family: Path) -> None:
    report = json.loads((shapes_family / "report.json").read_text())
    for variant in VARIANTS[1:]:
        drift = read_model(shapes_family / f"shapes-{variant}.tflite").spec.drift
        assert drift is not None
        assert drift.against == read_model(shapes_family / "shapes-float32.tflite").id
        assert drift.verdict in ("pass", "undecided")
        entry = next(entry for entry in report["files"] if entry["variant"] == variant)
        assert entry["drift"]["verdict"] == drift.verdict
        assert entry["comparison_on_validation"]["other"]["model"]["id"] == entry["id"]
        assert set(entry["comparison_on_validation"]["classes"]) == {"circle", "square", "triangle"}
    assert read_model(shapes_family / "shapes-float32.tflite").spec.drift is None


def test_every_file_carries_thresholds_for_sets_and_the_shape_of_the_embeddings(shapes_family: Path) -> None:
    for variant in VARIANTS:
        path = shapes_family / f"shapes-{variant}.tflite"
        conformal = read_model(path).spec.conformal
        assert read_model(path).spec.image_quality is None  # too few validation images to say what is still good
        assert read_ood_reference(read_model(path).members[MEMBER], 1280, path.name).rest > 0
        assert conformal is not None
        assert set(conformal.classes) == {"circle", "square", "triangle"}
        with zipfile.ZipFile(path) as members, members.open("embedding.npz") as file:
            stored = dict(np.load(file))
        assert stored["means"].shape == (3, 1280)
        assert stored["axes"].shape == (AXES, 1280)
        assert np.isfinite(stored["means"]).all()
        np.testing.assert_allclose(
            stored["axes"].astype(float) @ stored["axes"].T.astype(float), np.eye(AXES), atol=0.01
        )


def test_litert_quantizer_makes_all_that_it_makes_better() -> None:
    chosen = choose_variants([*REGISTERED])
    assert {name for name, engine in chosen.items() if engine != "litert"} == {
        *("float32", "qat-int8", "dynamic-tflite-runtime")
    }


@pytest.mark.parametrize("engine", ["tensorflow", "litert"])
def test_the_input_takes_grey_levels_not_shares_of_one(
    shapes_run: Path, tmp_path: Path, shapes_family: Path, engine: str
) -> None:
    """A calibration with pictures divided by 255 leaves an input that calls all but black its brightest."""
    folder = shapes_family
    if engine == "tensorflow":
        convert_run(shapes_run, folder := tmp_path / "out", variants=["int8"], engine=engine, log=print)
    model = read_model(folder / "shapes-int8.tflite")
    graph = unpack(model.content).subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    assert image.quantization.zeroPoint.tolist() == [128]
    np.testing.assert_allclose(image.quantization.scale, [1 / 127.5], rtol=0.01)
    assert operator_names(model.content)[0] == "QUANTIZE"
    assert operator_names(model.content)[-3:] == ["MEAN", "DIV", "SOFTMAX"]


def test_weights_outside_of_the_flatbuffer_are_taken_in() -> None:
    def packed(offset: int) -> bytes:
        weights = schema.BufferT()
        weights.offset, weights.size = offset, 5
        model = schema.ModelT()
        model.version, model.buffers, model.subgraphs = 3, [schema.BufferT(), weights], []
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    content = packed(len(packed(1_000))) + b"spots"
    taken_in = unpack(content)
    assert bytes(taken_in.buffers[1].data) == b"spots"
    assert bytes(unpack(pack(taken_in)).buffers[1].data) == b"spots"
    with pytest.raises(CheckError, match="cut off"):
        unpack(content[:-1])


def test_evidence_embedding_and_tail_cost_less_than_eight_kilobytes(shapes_run: Path, shapes_family: Path) -> None:
    """Against the same network with nothing but scores as its output, by the same converter."""
    body = keras.saving.load_model(shapes_run / "model.keras", compile=False)
    image = keras.Input(batch_shape=(1, 96, 96, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(body(image)["evidence"])
    alone = keras.Model(image, keras.layers.Softmax()(pooled), name="float_body")  # its name goes into those of tensors
    plain = tf.lite.TFLiteConverter.from_keras_model(alone).convert()
    ours = pack(unpack(read_model(shapes_family / "shapes-float32.tflite").content))
    assert 0 < len(ours) - len(plain) < 8_000
