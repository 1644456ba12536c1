"""The family made from a small run: every file is what it says it is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from spot_bench.drawings import draw_shapes
from spot_convert.checks import operator_names
from spot_convert.family import convert_run
from spot_convert.tail import unpack
from spot_edge import Classifier, read_model
from spot_edge.errors import DataError, OutputError
from spot_edge.interpreter import Interpreter


def test_both_variants_open_as_model_files_with_the_contracts_shapes(shapes_family: Path) -> None:
    for variant in ("float32", "int8"):
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


@pytest.mark.parametrize("variant", ["float32", "int8"])
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
    convert_run(shapes_run, tmp_path, variants=["int8"], say=print)
    assert (tmp_path / "shapes-int8.tflite").read_bytes() == (shapes_family / "shapes-int8.tflite").read_bytes()


def test_a_file_that_exists_is_never_overwritten(shapes_run: Path, shapes_family: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        convert_run(shapes_run, shapes_family, say=print)


def test_an_unknown_variant_lists_the_known_ones(shapes_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'int9': known are float32, int8"):
        convert_run(shapes_run, tmp_path / "out", variants=["int9"], say=print)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        convert_run(tmp_path, tmp_path / "out", say=print)


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
    for name in ("split.csv", "model.keras"):
        (tmp_path / name).symlink_to(shapes_run / name)
    about = json.loads((shapes_run / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(about | change))
    with pytest.raises(DataError, match=said):
        convert_run(tmp_path, tmp_path / "out", say=print)


def test_too_few_images_to_calibrate_are_refused(shapes_run: Path, tmp_path: Path) -> None:
    for name in ("run.json", "model.keras"):
        (tmp_path / name).symlink_to(shapes_run / name)
    rows = (shapes_run / "split.csv").read_text().splitlines()
    calibrating = [row for row in rows if row.endswith(",calibrate")]
    kept = [row for row in rows if row not in calibrating[3:]]
    (tmp_path / "split.csv").write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match="3 images to calibrate with"):
        convert_run(tmp_path, tmp_path / "out", say=print)


def test_data_given_by_hand_win_over_what_the_run_says(shapes_run: Path, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "elsewhere", per_class=2)
    with pytest.raises(DataError, match="images are not there"):
        convert_run(shapes_run, tmp_path / "out", data=tmp_path / "elsewhere", say=print)
