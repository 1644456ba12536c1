"""Give a quantized body a uint8 input and float32 outputs, whatever types it computes in."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from spot_convert.engines.tflite_converter import input_zero
from spot_convert.modelfile.graph import Graph
from spot_convert.run import Run
from spot_edge.errors import CheckError

__all__ = ["add_float_outputs", "add_uint8_input"]

_TYPES = schema.TensorType


def add_uint8_input(graph: Graph, run: Run) -> None:
    """Put a uint8 input for grey levels in front of an input of type int8, int16 or float32.

    uint8 to int8 takes one QUANTIZE. TFLite cannot convert uint8 to int16 directly, so that goes through float32.
    """
    entry = graph.model.signatureDefs[0].inputs[0]
    inner = graph.graph.tensors[entry.tensorIndex]
    outer = graph.tensor("image", inner.shape, _TYPES.UINT8, quantization=_grey_levels(run))
    if inner.type == _TYPES.INT8:
        given = inner.quantization
        if int(given.zeroPoint[0]) + 128 != input_zero(run) or not np.isclose(given.scale[0], run.pixel_scale):
            raise CheckError("LiteRT Quantizer gave the input a range that does not match 0 to 255")
        _quantize(graph, outer, entry.tensorIndex)
        inner.name = b"image/int8"
    elif inner.type == _TYPES.FLOAT32:
        _dequantize(graph, outer, entry.tensorIndex, first=True)
        inner.name = b"image/float"
    else:
        between = graph.tensor("image/float", inner.shape, _TYPES.FLOAT32)
        _quantize(graph, between, entry.tensorIndex)
        _dequantize(graph, outer, between, first=True)
        inner.name = b"image/inner"
    entry.tensorIndex = outer
    graph.graph.inputs = np.array([outer], np.int32)


def add_float_outputs(graph: Graph) -> None:
    """Convert every output to float32."""
    for entry in graph.model.signatureDefs[0].outputs:
        inner = graph.graph.tensors[entry.tensorIndex]
        if inner.type == _TYPES.FLOAT32:
            continue
        outer = graph.tensor(f"{entry.name.decode()}/float", inner.shape, _TYPES.FLOAT32)
        _dequantize(graph, entry.tensorIndex, outer)
        entry.tensorIndex = outer
    graph.graph.outputs = np.array([e.tensorIndex for e in graph.model.signatureDefs[0].outputs], np.int32)


def _grey_levels(run: Run) -> schema.QuantizationParametersT:
    """Return the quantization by which grey levels 0 to 255 stand for scaled pixels."""
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([run.pixel_scale], np.float32)
    quantization.zeroPoint = np.array([input_zero(run)], np.int64)
    return quantization


def _quantize(graph: Graph, source: int, target: int) -> None:
    options = schema.BuiltinOptions.QuantizeOptions
    graph.operator(schema.BuiltinOperator.QUANTIZE, [source], target, options, schema.QuantizeOptionsT(), first=True)


def _dequantize(graph: Graph, source: int, target: int, *, first: bool = False) -> None:
    options = schema.BuiltinOptions.DequantizeOptions
    graph.operator(
        schema.BuiltinOperator.DEQUANTIZE, [source], target, options, schema.DequantizeOptionsT(), first=first
    )
