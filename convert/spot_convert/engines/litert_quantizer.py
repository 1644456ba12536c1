"""LiteRT Quantizer on the converted float body: float16, dynamic-range int8, int8, int16 activations and int4."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from litert_quantizer import recipe, recipe_manager
from litert_quantizer.recipe import AlgorithmName, TFLOperationName
from numpy.typing import NDArray

from spot_convert.engines.ends import floats_out, grey_levels_in
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
    with_living_channels,
)
from spot_convert.quantize.mixing import Choice, mixed_plan
from spot_convert.quantize.ranges import Ranges, activation_ranges
from spot_convert.run import Run
from spot_edge.errors import CheckError

__all__ = ["BODIES", "MIXES", "mixed_body"]

_FAINTEST = 6 * 32767 / 2**31  # the kernels count the six of ReLU6 in steps of the range's 32767th part
_CORRECTING = 64  # pictures to measure means with
INT4 = Plan(weights=4, algorithm="min-max")
MIXES = {"int8-mixed": (Plan(), FLOAT), "int4-mixed": (INT4, 8)}  # from what, and to which bits layers are raised


def _float16_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network with its weights as float16, corrected for their rounding; it computes in float32."""
    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*",
        operation_name=TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    pictures = [picture[np.newaxis] for picture in calibration[:_CORRECTING]]
    body = corrected_for_float16(float_body(run, calibration), pictures)
    return quantize(body, manager.get_quantization_recipe())


def _dynamic_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network with its weights as int8 and float activations, which are quantized picture by picture."""
    return quantize(corrected_whole_body(run, calibration), recipe.dynamic_wi8_afp32())


def _int8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network in full int8 with per-channel weights, between uint8 and float ends."""
    body, ranges, inputs = _watched(run, calibration)
    return _between_ends(quantized(corrected(body, ranges, Plan(), inputs), ranges, Plan()), run)


def _int4_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The same with weights of four bits in all but the depthwise layers."""
    body, ranges, inputs = _watched(run, calibration)
    return _between_ends(quantized(corrected(body, ranges, INT4, inputs), ranges, INT4), run)


def _int16x8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """Activations of sixteen bits, weights of eight, corrected for their rounding: the only thing left to correct."""
    body = with_living_channels(corrected_float_body(run, calibration))
    ranges = activation_ranges(body, calibration_inputs(run, calibration))
    peaks = [ranges[layer.name]["max"].item() for layer in layers_of(body) if layer.relu6]
    faintest = min(peaks, default=math.inf)
    if faintest < _FAINTEST:
        raise CheckError(
            f"int16x8: a layer gives nothing above {faintest:.1e}, and in steps so small 32 bits do not reach the six "
            "of its ReLU6 (no runtime opens such a file): the network is not trained, or the layer is dead"
        )
    return _between_ends(quantized(with_living_channels(body, ranges), ranges, Plan(activations=16)), run)


BODIES: dict[str, Callable[[Run, NDArray[np.uint8]], bytes]] = {
    "float16": _float16_body,
    "dynamic": _dynamic_body,
    "int8": _int8_body,
    "int4": _int4_body,
    "int16x8": _int16x8_body,
}


def mixed_body(
    kind: str, run: Run, calibration: NDArray[np.uint8], say: Callable[[str], None]
) -> tuple[bytes, list[Choice]]:
    """The body of a variant with layers in different numbers, and the steps of the search for them."""
    plan, raised = MIXES[kind]
    body, ranges, inputs = _watched(run, calibration)
    chosen, biased, steps = mixed_plan(run, body, ranges, plan, raised, inputs, say)
    return _between_ends(quantized(biased, ranges, chosen), run), steps


def _watched(run: Run, calibration: NDArray[np.uint8]) -> tuple[bytes, Ranges, list[NDArray[np.float32]]]:
    """The float body, the ranges of its layers, and pictures to measure means with."""
    body = with_living_channels(scaled_body(run))
    ranges = activation_ranges(body, calibration_inputs(run, calibration))
    return body, ranges, list(calibration_inputs(run, calibration[:_CORRECTING]))


def _between_ends(quantized: bytes, run: Run) -> bytes:
    graph = Graph(unpack(quantized))
    grey_levels_in(graph, run)
    floats_out(graph)
    return pack(graph.model)
