"""Per-layer precision: calibration, bias correction, and the search for the layers that need more bits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from spot_bench.data.drawn import draw_lesion
from spot_bench.run.settings import Budget, budget_from
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
from spot_convert.run import Run
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError, DataError

Calibrated = tuple[bytes, Ranges, list[NDArray[np.float32]]]


@pytest.fixture(scope="module")
def calibration(run: Run) -> NDArray[np.uint8]:
    return image_tensors(choose_calibration_images(run.manifest), run.image)


@pytest.fixture(scope="module")
def calibrated(run: Run, calibration: NDArray[np.uint8]) -> Calibrated:
    body = without_dead_channels(scaled_body(run))
    inputs = list(calibration_inputs(run, calibration))
    return body, activation_ranges(body, inputs), inputs


def weight_types(flatbuffer: bytes) -> dict[str, int]:
    """Return the type of the weights of each convolution, by the name of its output."""
    graph = Graph(unpack(flatbuffer))
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.DEPTHWISE_CONV_2D)
    return {
        graph.graph.tensors[operator.outputs[0]].name.decode(): graph.graph.tensors[operator.inputs[1]].type
        for operator in graph.graph.operators
        if graph.model.operatorCodes[operator.opcodeIndex].builtinCode in kinds
    }


def test_ranges_cover_every_image_and_are_tight(calibrated: Calibrated) -> None:
    body, ranges, inputs = calibrated
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


def test_layers_match_those_of_the_network(run: Run, calibrated: Calibrated) -> None:
    kernels = [
        layer.kernel.shape
        for layer in run.body.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    layers = layers_of(calibrated[0])
    assert [layer.weights for layer in layers] == [int(np.prod(shape)) for shape in kernels]
    assert any(layer.depthwise for layer in layers)
    assert layers[-1].products == layers[-1].weights * np.prod(run.body.output["evidence"].shape[1:3])


@pytest.mark.parametrize("plan", [Plan(), INT4], ids=["int8", "int4"])
def test_measured_correction_keeps_the_means(calibrated: Calibrated, plan: Plan) -> None:
    body, ranges, inputs = calibrated
    wanted = logits(body, inputs).mean(axis=0)
    rounded = logits(quantized(body, ranges, plan), inputs).mean(axis=0)
    corrections = logits(quantized(corrected(body, ranges, plan, inputs), ranges, plan), inputs).mean(axis=0)
    assert np.abs(corrections - wanted).mean() < 0.5 * np.abs(rounded - wanted).mean()


def test_correction_for_float16_keeps_the_means(run: Run, calibration: NDArray[np.uint8]) -> None:
    """Rounding moves the means even in float16, if weights nearly cancel."""
    images = [image[np.newaxis] for image in calibration]
    wanted = logits(float_body(run, calibration), images)
    corrections = logits(BODIES["float16"](run, calibration), images) - wanted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spot_convert.engines.litert_quantizer.corrected_for_float16", lambda body, inputs: body)
        rounded = logits(BODIES["float16"](run, calibration), images) - wanted
    assert np.abs(corrections.mean(axis=0)).max() < 0.5 * np.abs(rounded.mean(axis=0)).max()
    assert np.abs(corrections).mean() < np.abs(rounded).mean()


def test_weights_beyond_the_range_of_float16_are_reported(run: Run, calibration: NDArray[np.uint8]) -> None:
    graph = Graph(unpack(float_body(run, calibration)))
    weights = next(
        operator.inputs[1]
        for operator in graph.graph.operators
        if graph.model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CONV_2D
    )
    graph.fill(weights, np.full_like(graph.floats(weights), 70_000))
    with pytest.raises(CheckError, match="float16: weights of 70000 exceed the range of float16"):
        corrected_for_float16(pack(graph.model), [calibration[:1]])


def test_int4_weights_take_half_a_byte_except_in_depthwise_layers(calibrated: Calibrated) -> None:
    body, ranges, _ = calibrated
    four, eight = (quantized(body, ranges, plan) for plan in (INT4, Plan()))
    types = weight_types(four)
    for layer in layers_of(body):
        assert types[layer.name] == (schema.TensorType.INT8 if layer.depthwise else schema.TensorType.INT4)
    dense = sum(layer.weights for layer in layers_of(body) if not layer.depthwise)
    assert len(eight) - len(four) == pytest.approx(dense / 2, rel=0.1)


def test_a_single_layer_can_stay_in_float(calibrated: Calibrated) -> None:
    body, ranges, inputs = calibrated
    layer = layers_of(body)[3]
    types = weight_types(quantized(body, ranges, Plan().but(layer, FLOAT)))
    assert [name for name, kind in types.items() if kind == schema.TensorType.FLOAT32] == [layer.name]
    assert np.isfinite(logits(quantized(body, ranges, Plan().but(layer, FLOAT)), inputs[:2])).all()


def test_the_search_stays_within_its_budget_and_takes_the_best_step(run: Run, calibrated: Calibrated) -> None:
    body, ranges, inputs = calibrated
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


def test_without_a_budget_no_layer_is_raised(run: Run, calibration: NDArray[np.uint8]) -> None:
    poor = dataclasses.replace(run, budget=Budget(bytes=1.0, products=0.0))
    body, steps = mixed_body("int8-mixed", poor, calibration[:16], lambda line: None)
    assert [step.raised for step in steps] == [0]
    assert schema.TensorType.FLOAT32 not in weight_types(body).values()


def test_float_layers_at_both_ends_keep_the_uint8_input_and_float_outputs(
    run: Run, calibration: NDArray[np.uint8]
) -> None:
    body, ranges, _ = _calibrated(run, calibration)
    layers = layers_of(body)
    ends = Plan().but(layers[0], FLOAT).but(layers[-1], FLOAT)
    graph = Graph(unpack(_between_ends(quantized(body, ranges, ends), run)))
    assert graph.graph.tensors[graph.graph.inputs[0]].type == schema.TensorType.UINT8
    assert {graph.graph.tensors[number].type for number in graph.graph.outputs} == {schema.TensorType.FLOAT32}


def test_int16x8_reports_a_dead_layer(run: Run, calibration: NDArray[np.uint8]) -> None:
    """Activations this small have int16 steps in which 32 bits cannot express the 6 of ReLU6."""
    weak = keras.models.clone_model(run.body)
    weights = run.body.get_weights()
    weak.set_weights([values * 1e-4 if values.ndim == 4 else values * 1e-6 for values in weights])
    with pytest.raises(CheckError, match=r"int16x8: the outputs of a layer never exceed .* the 6 of its ReLU6"):
        BODIES["int16x8"](dataclasses.replace(run, body=weak), calibration[:8])


def test_int16_activations_are_more_accurate_than_int8(
    run: Run, calibration: NDArray[np.uint8], calibrated: Calibrated
) -> None:
    body, ranges, inputs = calibrated
    few = inputs[:6]
    wanted = logits(body, few)
    eight = logits(quantized(body, ranges, Plan()), few)
    sixteen = logits(quantized(without_dead_channels(body, ranges), ranges, Plan(activations=16)), few)
    assert np.abs(sixteen - wanted).mean() < np.abs(eight - wanted).mean()
    graph = Graph(unpack(BODIES["int16x8"](run, calibration)))
    assert graph.graph.tensors[graph.graph.inputs[0]].type == schema.TensorType.UINT8
    assert {graph.graph.tensors[number].type for number in graph.graph.outputs} == {schema.TensorType.FLOAT32}


def test_the_report_describes_the_search(small_family: Path, small_file: Callable[[str], Path]) -> None:
    files = {entry["variant"]: entry for entry in json.loads((small_family / "report.json").read_text())["files"]}
    assert {variant for variant, entry in files.items() if "search" in entry} == {"int8-mixed"}
    search = files["int8-mixed"]["search"]
    assert [step["raised"] for step in search] == sorted({step["raised"] for step in search})
    assert search[0]["raised"] == 0
    types = weight_types(small_file("int8-mixed").read_bytes())
    raised = sum(kind == schema.TensorType.FLOAT32 for kind in types.values())
    assert raised in {step["raised"] for step in search}
    assert len(Classifier.load(small_file("int8-mixed")).classify(draw_lesion(1)).ranked) == 3


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
def test_invalid_budgets_are_reported(table: object, why: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{why}"):
        budget_from(table, "here")
