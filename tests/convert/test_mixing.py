"""Layers in different numbers: ranges, corrected biases, and the search for the layers that need more."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from click.testing import CliRunner
from numpy.typing import NDArray

from spot_bench.data.drawn import draw_lesion
from spot_bench.run.settings import Budget, budget_from
from spot_convert.commands.convert import convert
from spot_convert.engines.litert_quantizer import BODIES, INT4, _between_ends, _calibrated, mixed_body
from spot_convert.engines.tflite_converter import calibration_inputs, float_body, scaled_body
from spot_convert.images import choose_calibration_images, image_tensors
from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.quantize.layers import (
    FLOAT,
    Plan,
    corrected,
    corrected_for_float16,
    layers_of,
    quantized,
    without_dead_channels,
)
from spot_convert.quantize.mixing import logits, mixed_plan
from spot_convert.quantize.ranges import Ranges, activation_ranges, interpreter_of_all
from spot_convert.run import Run, read_run
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError, DataError

Watched = tuple[bytes, Ranges, list[NDArray[np.float32]]]


@pytest.fixture(scope="module")
def run(shapes_run: Path) -> Run:
    return read_run(shapes_run)


@pytest.fixture(scope="module")
def calibration(run: Run) -> NDArray[np.uint8]:
    return image_tensors(choose_calibration_images(run.manifest), run.image)


@pytest.fixture(scope="module")
def watched(run: Run, calibration: NDArray[np.uint8]) -> Watched:
    body = without_dead_channels(scaled_body(run))
    inputs = list(calibration_inputs(run, calibration))
    return body, activation_ranges(body, inputs), inputs


def weight_types(flatbuffer: bytes) -> dict[str, int]:
    """The type of the weights of each convolution, by the name of its output."""
    graph = Graph(unpack(flatbuffer))
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    return {
        graph.graph.tensors[operator.outputs[0]].name.decode(): graph.graph.tensors[operator.inputs[1]].type
        for operator in graph.graph.operators
        if graph.model.operatorCodes[operator.opcodeIndex].builtinCode in kinds
    }


def test_ranges_hold_every_picture(watched: Watched) -> None:
    body, ranges, inputs = watched
    engine = interpreter_of_all(body)
    details = {detail["name"]: detail["index"] for detail in engine.get_tensor_details()}
    reached = dict.fromkeys(ranges, False)
    for tensor in inputs:
        engine.set_tensor(engine.get_input_details()[0]["index"], tensor)
        engine.invoke()
        for name, ends in ranges.items():
            value = engine.get_tensor(details[name])
            assert ends["min"].item() <= value.min()
            assert value.max() <= ends["max"].item()
            reached[name] |= bool(value.max() == ends["max"].item())
    assert all(reached.values())
    assert {layer.name for layer in layers_of(body)} <= set(ranges)


def test_layers_are_counted_as_the_network_has_them(run: Run, watched: Watched) -> None:
    kernels = [
        layer.kernel.shape
        for layer in run.body.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    layers = layers_of(watched[0])
    assert [layer.weights for layer in layers] == [int(np.prod(shape)) for shape in kernels]
    assert any(layer.depthwise for layer in layers)
    assert layers[-1].products == layers[-1].weights * np.prod(run.body.output["evidence"].shape[1:3])


@pytest.mark.parametrize("plan", [Plan(), INT4], ids=["int8", "int4"])
def test_measured_correction_keeps_the_means(watched: Watched, plan: Plan) -> None:
    body, ranges, inputs = watched
    wanted = logits(body, inputs).mean(axis=0)
    rounded = logits(quantized(body, ranges, plan), inputs).mean(axis=0)
    settled = logits(quantized(corrected(body, ranges, plan, inputs), ranges, plan), inputs).mean(axis=0)
    assert np.abs(settled - wanted).mean() < 0.5 * np.abs(rounded - wanted).mean()


def test_float16_keeps_the_means_too(run: Run, calibration: NDArray[np.uint8]) -> None:
    """Against the same file merely rounded: weights that nearly cancel move the means, however finely."""
    pictures = [picture[np.newaxis] for picture in calibration]
    wanted = logits(float_body(run, calibration), pictures)
    settled = logits(BODIES["float16"](run, calibration), pictures) - wanted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spot_convert.engines.litert_quantizer.corrected_for_float16", lambda body, inputs: body)
        rounded = logits(BODIES["float16"](run, calibration), pictures) - wanted
    assert np.abs(settled.mean(axis=0)).max() < 0.5 * np.abs(rounded.mean(axis=0)).max()
    assert np.abs(settled).mean() < np.abs(rounded).mean()


def test_weights_that_float16_cannot_hold_are_refused(run: Run, calibration: NDArray[np.uint8]) -> None:
    graph = Graph(unpack(float_body(run, calibration)))
    weights = next(
        operator.inputs[1]
        for operator in graph.graph.operators
        if graph.model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    )
    graph.fill(weights, np.full_like(graph.floats(weights), 70_000))
    with pytest.raises(CheckError, match="float16: weights of 70000 are beyond what 16 bits can hold"):
        corrected_for_float16(pack(graph.model), [calibration[:1]])


def test_four_bits_are_half_a_byte_and_depthwise_layers_keep_eight(watched: Watched) -> None:
    body, ranges, _ = watched
    four, eight = (quantized(body, ranges, plan) for plan in (INT4, Plan()))
    types = weight_types(four)
    for layer in layers_of(body):
        assert types[layer.name] == (schema.TensorType.INT8 if layer.depthwise else schema.TensorType.INT4)
    dense = sum(layer.weights for layer in layers_of(body) if not layer.depthwise)
    assert len(eight) - len(four) == pytest.approx(dense / 2, rel=0.1)


def test_a_layer_is_left_in_float_by_its_whole_name(watched: Watched) -> None:
    body, ranges, inputs = watched
    layer = layers_of(body)[3]
    types = weight_types(quantized(body, ranges, Plan().but(layer, FLOAT)))
    assert [name for name, kind in types.items() if kind == schema.TensorType.FLOAT32] == [layer.name]
    assert np.isfinite(logits(quantized(body, ranges, Plan().but(layer, FLOAT)), inputs[:2])).all()


def test_a_search_raises_within_its_budget_and_takes_the_best(run: Run, watched: Watched) -> None:
    body, ranges, inputs = watched
    lines: list[str] = []
    strict = dataclasses.replace(run, margins=dataclasses.replace(run.margins, agreement=1.0, ece=0.0))
    strict = dataclasses.replace(strict, budget=Budget(bytes=1.5, products=0.5))
    plan, _, steps = mixed_plan(strict, body, ranges, INT4, 8, inputs[:16], lines.append)
    assert steps[0].raised == 0
    assert all(step.bytes <= 1.5 * steps[0].bytes for step in steps)
    assert len(steps) > 2
    assert len(lines) == len(steps)
    last = steps[-1]
    taken = last if last.verdict == "pass" else min(steps, key=lambda step: step.divergence)
    assert len(plan.layers) == taken.raised
    assert set(plan.layers.values()) <= {8}


def test_no_room_means_no_layer(run: Run, calibration: NDArray[np.uint8]) -> None:
    poor = dataclasses.replace(run, budget=Budget(bytes=1.0, products=0.0))
    body, steps = mixed_body("int8-mixed", poor, calibration[:16], lambda line: None)
    assert [step.raised for step in steps] == [0]
    assert schema.TensorType.FLOAT32 not in weight_types(body).values()


def test_layers_in_float_still_take_grey_levels(run: Run, calibration: NDArray[np.uint8]) -> None:
    """Whatever stands first and last."""
    body, ranges, _ = _calibrated(run, calibration)
    layers = layers_of(body)
    ends = Plan().but(layers[0], FLOAT).but(layers[-1], FLOAT)
    graph = Graph(unpack(_between_ends(quantized(body, ranges, ends), run)))
    assert graph.graph.tensors[graph.graph.inputs[0]].type == schema.TensorType.UINT8
    assert {graph.graph.tensors[number].type for number in graph.graph.outputs} == {schema.TensorType.FLOAT32}


def test_int16x8_says_why_it_cannot_be(run: Run, calibration: NDArray[np.uint8]) -> None:
    """The same network with activations so small that the runtime cannot count to ReLU6's six in their steps."""
    faint = keras.models.clone_model(run.body)
    weights = run.body.get_weights()
    faint.set_weights([values * 1e-4 if values.ndim == 4 else values * 1e-6 for values in weights])
    with pytest.raises(CheckError, match=r"int16x8: a layer gives nothing above .* the six of its ReLU6"):
        BODIES["int16x8"](dataclasses.replace(run, body=faint), calibration[:8])


def test_sixteen_bits_are_nearer_than_eight(run: Run, calibration: NDArray[np.uint8], watched: Watched) -> None:
    body, ranges, inputs = watched
    few = inputs[:6]
    wanted = logits(body, few)
    eight = logits(quantized(body, ranges, Plan()), few)
    sixteen = logits(quantized(without_dead_channels(body, ranges), ranges, Plan(activations=16)), few)
    assert np.abs(sixteen - wanted).mean() < np.abs(eight - wanted).mean()
    graph = Graph(unpack(BODIES["int16x8"](run, calibration)))
    assert graph.graph.tensors[graph.graph.inputs[0]].type == schema.TensorType.UINT8
    assert {graph.graph.tensors[number].type for number in graph.graph.outputs} == {schema.TensorType.FLOAT32}


@pytest.fixture(scope="module")
def mixed_family(shapes_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mixed") / "family"
    done = CliRunner().invoke(convert, [str(shapes_run), "--variants", "int8-mixed,int4", "--out", str(out)])
    assert done.exit_code == 0 or isinstance(done.exception, CheckError), done.output  # the gate may refuse four bits
    return out


@pytest.mark.parametrize("variant", ["int8-mixed", "int4"])
def test_they_are_model_files_like_any_other(mixed_family: Path, variant: str) -> None:
    (file,) = mixed_family.rglob(f"shapes-{variant}.tflite")
    classifier = Classifier.load(file)
    (entry,) = (one for one in record(mixed_family)["files"] if one["variant"] == variant)
    assert entry["bytes"] == file.stat().st_size
    assert classifier.model.spec.variant == variant
    assert ("search" in entry) == (variant == "int8-mixed")
    assert len(classifier.classify(draw_lesion(1)).ranked) == len(classifier.model.spec.labels)


def record(family: Path) -> dict:
    return json.loads((family / "report.json").read_text())


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (3, "mix must be a table of bytes, products"),
        ({"byte": 1.1}, "mix must be a table of bytes, products"),
        ({"bytes": "much"}, "must be numbers"),
        ({"bytes": True}, "must be numbers"),
        ({"bytes": 0.5}, "mix.bytes must be a number from 1 to 8"),
        ({"products": 2}, "mix.products must be a number from 0 to 1"),
    ],
)
def test_a_budget_that_cannot_be(table: object, why: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{why}"):
        budget_from(table, "here")
