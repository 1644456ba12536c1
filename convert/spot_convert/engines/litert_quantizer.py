"""Quantize the converted float body with LiteRT Quantizer: float16, dynamic range, int8, int16x8 and int4."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from litert_quantizer import recipe, recipe_manager
from litert_quantizer.recipe import AlgorithmName, TFLOperationName
from numpy.typing import NDArray

from spot_convert.engines.ends import add_float_outputs, add_uint8_input
from spot_convert.engines.tflite_converter import (
    calibration_inputs,
    corrected_float_body,
    corrected_whole_body,
    float_body,
    scaled_body,
)
from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.quantize.layers import (
    FLOAT,
    Plan,
    corrected,
    corrected_for_float16,
    layers_of,
    quantize,
    quantized,
    without_dead_channels,
)
from spot_convert.quantize.mixing import SearchStep, mixed_plan
from spot_convert.quantize.ranges import Ranges, activation_ranges
from spot_convert.run import Run
from spot_edge.errors import CheckError

__all__ = ["BODIES", "MIXES", "mixed_body"]

_MIN_PEAK = 6 * 32767 / 2**31  # int16 kernels count ReLU6's limit of 6 in steps of peak / 32767, and 32 bits must do
_CORRECTION_IMAGES = 64  # to measure means on
INT4 = Plan(weights=4, algorithm="min-max")
MIXES = {"int8-mixed": (Plan(), FLOAT), "int4-mixed": (INT4, 8)}  # the plan, and the bits that layers are raised to


def _float16_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Store the weights as float16, with biases corrected for their rounding. The network computes in float32."""
    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*",
        operation_name=TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    inputs = [image[np.newaxis] for image in calibration[:_CORRECTION_IMAGES]]
    body = corrected_for_float16(float_body(run, calibration), inputs)
    return quantize(body, manager.get_quantization_recipe())


def _dynamic_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Store the weights as int8. Activations are float and quantized at run time, image by image."""
    return quantize(corrected_whole_body(run, calibration), recipe.dynamic_wi8_afp32())


def _int8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Quantize everything to int8, weights per channel, with a uint8 input and float outputs."""
    body, ranges, inputs = _calibrated(run, calibration)
    return _between_ends(quantized(corrected(body, ranges, Plan(), inputs), ranges, Plan()), run)


def _int4_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Like int8, with four-bit weights in all but the depthwise layers."""
    body, ranges, inputs = _calibrated(run, calibration)
    return _between_ends(quantized(corrected(body, ranges, INT4, inputs), ranges, INT4), run)


def _int16x8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Quantize activations to int16 and weights to int8, corrected for the rounding of the weights."""
    body = without_dead_channels(corrected_float_body(run, calibration))
    ranges = activation_ranges(body, calibration_inputs(run, calibration))
    peaks = [ranges[layer.name]["max"].item() for layer in layers_of(body) if layer.relu6]
    weakest = min(peaks, default=math.inf)
    if weakest < _MIN_PEAK:
        raise CheckError(
            f"int16x8: the outputs of a layer never exceed {weakest:.1e}. In steps that small, 32 bits cannot express "
            "the 6 of its ReLU6, and no runtime opens the file. Is the network untrained, or the layer dead?"
        )
    return _between_ends(quantized(without_dead_channels(body, ranges), ranges, Plan(activations=16)), run)


BODIES: dict[str, Callable[[Run, NDArray[np.uint8]], bytes]] = {
    "float16": _float16_body,
    "dynamic": _dynamic_body,
    "int8": _int8_body,
    "int4": _int4_body,
    "int16x8": _int16x8_body,
}


def mixed_body(
    kind: str, run: Run, calibration: NDArray[np.uint8], log: Callable[[str], None]
) -> tuple[bytes, list[SearchStep]]:
    """Build the body of a mixed-precision variant, and return it with the steps of the search."""
    plan, raised = MIXES[kind]
    body, ranges, inputs = _calibrated(run, calibration)
    chosen, biased, steps = mixed_plan(run, body, ranges, plan, raised, inputs, log)
    return _between_ends(quantized(biased, ranges, chosen), run), steps


def _calibrated(run: Run, calibration: NDArray[np.uint8]) -> tuple[bytes, Ranges, list[NDArray[np.float32]]]:
    """Return the float body, the ranges of its tensors, and inputs to measure means on."""
    body = without_dead_channels(scaled_body(run))
    ranges = activation_ranges(body, calibration_inputs(run, calibration))
    return body, ranges, list(calibration_inputs(run, calibration[:_CORRECTION_IMAGES]))


def _between_ends(quantized: bytes, run: Run) -> bytes:
    """Give a quantized body its uint8 input and float32 outputs."""
    graph = Graph(unpack(quantized))
    add_uint8_input(graph, run)
    add_float_outputs(graph)
    return pack(graph.model)
