"""The two ends of a quantized body: grey levels in, floats out, whatever lies in between."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from spot_convert.engines.tflite_converter import input_zero
from spot_convert.modelfile.graph import Graph
from spot_convert.run import Run
from spot_edge.errors import CheckError

__all__ = ["floats_out", "grey_levels_in"]

_TYPES = schema.TensorType


def grey_levels_in(graph: Graph, run: Run) -> None:
    """A uint8 input in front of the one that counts otherwise: in int8, int16 or float32.

    All mean the same. int8 counts from -128 where uint8 counts from 0; towards int16 and float32 the way leads over
    floats, as there is no shorter one.
    """
    entry = graph.model.signatureDefs[0].inputs[0]
    inner = graph.graph.tensors[entry.tensorIndex]
    outer = graph.tensor("image", inner.shape, _TYPES.UINT8, quantization=_grey(run))
    if inner.type == _TYPES.INT8:
        theirs = inner.quantization
        if int(theirs.zeroPoint[0]) + 128 != input_zero(run) or not np.isclose(theirs.scale[0], run.pixel_scale):
            raise CheckError("LiteRT Quantizer gave the input another range than that of grey levels")
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


def floats_out(graph: Graph) -> None:
    """Every output as float32."""
    for entry in graph.model.signatureDefs[0].outputs:
        inner = graph.graph.tensors[entry.tensorIndex]
        if inner.type == _TYPES.FLOAT32:
            continue
        outer = graph.tensor(f"{entry.name.decode()}/float", inner.shape, _TYPES.FLOAT32)
        _dequantize(graph, entry.tensorIndex, outer)
        entry.tensorIndex = outer
    graph.graph.outputs = np.array([e.tensorIndex for e in graph.model.signatureDefs[0].outputs], np.int32)


def _grey(run: Run) -> schema.QuantizationParametersT:
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.array([run.pixel_scale], np.float32)
    quantization.zeroPoint = np.array([input_zero(run)], np.int64)
    return quantization


def _quantize(graph: Graph, given: int, wanted: int) -> None:
    options = schema.BuiltinOptions.QuantizeOptions
    graph.operator(schema.BuiltinOperator.QUANTIZE, [given], wanted, options, schema.QuantizeOptionsT(), first=True)


def _dequantize(graph: Graph, given: int, wanted: int, *, first: bool = False) -> None:
    options = schema.BuiltinOptions.DequantizeOptions
    graph.operator(
        schema.BuiltinOperator.DEQUANTIZE, [given], wanted, options, schema.DequantizeOptionsT(), first=first
    )
