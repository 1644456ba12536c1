"""LiteRT Quantizer on the converted float body: float16, dynamic-range int8 and full int8."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from litert_quantizer import quantizer, recipe, recipe_manager
from litert_quantizer.recipe import AlgorithmName, TFLOperationName
from numpy.typing import NDArray

from spot_convert.graph import Graph, pack, unpack
from spot_convert.run import Run
from spot_convert.tensorflow_engine import (
    calibration_inputs,
    corrected_float_body,
    corrected_whole_body,
    float_body,
    input_zero,
)
from spot_edge.errors import CheckError

__all__ = ["BODIES"]

_LEAST_WEIGHT = 1e-4  # of a channel's largest weight, in parts of its bias
_CHANNELS = {
    schema.BuiltinOperator.CONV_2D: 0,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    schema.BuiltinOperator.FULLY_CONNECTED: 0,
}


def _float16_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network with its weights as float16; it computes in float32."""
    manager = recipe_manager.RecipeManager()
    manager.add_weight_only_config(
        regex=".*",
        operation_name=TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    return pack(unpack(_quantize(float_body(run, calibration), manager.get_quantization_recipe())))


def _dynamic_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network with its weights as int8 and float activations, which are quantized picture by picture."""
    return pack(unpack(_quantize(corrected_whole_body(run, calibration), recipe.dynamic_wi8_afp32())))


def _int8_body(run: Run, calibration: NDArray[np.uint8]) -> bytes:
    """The network in full int8 with per-channel weights, corrected for their rounding, between uint8 and float ends."""
    data = [{"image": tensor} for tensor in calibration_inputs(run, calibration)]
    body = _with_living_channels(corrected_float_body(run, calibration))
    quantized = _quantize(body, recipe.static_wi8_ai8(), data)
    graph = Graph(unpack(quantized))
    _grey_levels_in(graph, run)
    _floats_out(graph)
    return pack(graph.model)


BODIES: dict[str, Callable[[Run, NDArray[np.uint8]], bytes]] = {
    "float16": _float16_body,
    "dynamic": _dynamic_body,
    "int8": _int8_body,
}


def _quantize(body: bytes, wanted: Any, pictures: list[dict[str, NDArray[np.float32]]] | None = None) -> bytes:
    try:
        quiet = io.StringIO()  # for its summary and its bars
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of its own way to read the layers in between
            engine = quantizer.Quantizer(body, wanted)
            threads = os.cpu_count() or 1
            seen = engine.calibrate({"serving_default": pictures}, num_threads=threads) if pictures else None
            return bytes(engine.quantize(seen).quantized_model)
    except (ValueError, RuntimeError, TypeError) as error:
        raise CheckError(f"LiteRT Quantizer failed: {(str(error) or type(error).__name__).splitlines()[0]}") from error


def _with_living_channels(body: bytes) -> bytes:
    """The float network with no channel whose weights are all but nought beside its bias.

    The bias is counted in steps of the weights' scale: of a dead channel there are more of them than 32 bits can hold,
    and the quantizer lets them overflow to the other sign. One weight of a ten-thousandth of the bias keeps them few.
    """
    graph = Graph(unpack(body))
    for operator in graph.graph.operators:
        axis = _CHANNELS.get(graph.model.operatorCodes[operator.opcodeIndex].builtinCode)
        if axis is None or len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        weights, bias = (graph.floats(operator.inputs[index]) for index in (1, 2))
        channels = np.moveaxis(weights, axis, 0).reshape(len(bias), -1)  # a copy where it is depthwise
        largest = np.abs(channels).argmax(axis=1)
        rows = np.arange(len(bias))
        least = _LEAST_WEIGHT * np.abs(bias)
        dead = np.abs(channels[rows, largest]) < least
        if dead.any():
            channels[rows[dead], largest[dead]] = least[dead]
            back = np.moveaxis(channels.reshape(np.moveaxis(weights, axis, 0).shape), 0, axis)
            graph.fill(operator.inputs[1], back)
    return pack(graph.model)


def _grey_levels_in(graph: Graph, run: Run) -> None:
    """A uint8 input in front of the int8 one; both mean the same, one counts from 0 and the other from -128."""
    entry = graph.model.signatureDefs[0].inputs[0]
    inner = graph.graph.tensors[entry.tensorIndex]
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array(inner.quantization.scale, np.float32)
    quantization.zeroPoint = np.array(inner.quantization.zeroPoint, np.int64) + 128
    if inner.type != schema.TensorType.INT8 or int(quantization.zeroPoint[0]) != input_zero(run):
        raise CheckError("LiteRT Quantizer gave the input another range than that of grey levels")
    outer = graph.tensor("image", inner.shape, schema.TensorType.UINT8, quantization=quantization)
    options = schema.BuiltinOptions.QuantizeOptions
    graph.operator(
        schema.BuiltinOperator.QUANTIZE, [outer], entry.tensorIndex, options, schema.QuantizeOptionsT(), first=True
    )
    inner.name = b"image/int8"
    entry.tensorIndex = outer
    graph.graph.inputs = np.array([outer], np.int32)


def _floats_out(graph: Graph) -> None:
    """Every output as float32."""
    for entry in graph.model.signatureDefs[0].outputs:
        inner = graph.graph.tensors[entry.tensorIndex]
        outer = graph.tensor(f"{entry.name.decode()}/float", inner.shape, schema.TensorType.FLOAT32)
        options = schema.BuiltinOptions.DequantizeOptions
        graph.operator(
            schema.BuiltinOperator.DEQUANTIZE, [entry.tensorIndex], outer, options, schema.DequantizeOptionsT()
        )
        entry.tensorIndex = outer
    graph.graph.outputs = np.array([e.tensorIndex for e in graph.model.signatureDefs[0].outputs], np.int32)
