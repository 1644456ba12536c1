"""Quantize with a precision for each layer: a `Plan` says how many bits each layer gets, LiteRT Quantizer does it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from litert_quantizer import quantizer, recipe_manager
from litert_quantizer.recipe import AlgorithmName, TFLOperationName
from numpy.typing import NDArray

from spot_convert.modelfile.graph import Graph, pack, unpack
from spot_convert.quantize.ranges import Ranges, interpreter_of_all
from spot_edge.errors import CheckError, first_line

__all__ = [
    "ALGORITHMS",
    "FLOAT",
    "Layer",
    "Plan",
    "as_input",
    "corrected",
    "corrected_for_float16",
    "layers_of",
    "quantize",
    "quantized",
    "without_dead_channels",
]

_Means: TypeAlias = NDArray[np.float64]

FLOAT = 32  # "bits" of a layer that stays in float
ALGORITHMS = {"min-max": AlgorithmName.MIN_MAX_UNIFORM_QUANT, "mse": AlgorithmName.MSE, "octav": AlgorithmName.OCTAV}
_MIN_WEIGHT = 1e-4  # smallest allowed peak weight of a channel, relative to its bias
_MIN_WEIGHT_INT16 = 1.1 * 127 * 32767 / 2**31  # the same for int16 activations, times the largest input
_CHANNELS = {
    schema.BuiltinOperator.CONV_2D: 0,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    schema.BuiltinOperator.FULLY_CONNECTED: 0,
}


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of a float body: its bias tensor and its cost."""

    name: str  # of its output tensor
    bias: int  # tensor index; -1 if it has none
    kind: TFLOperationName
    weights: int  # number of weights
    products: int  # multiply-accumulates per image
    relu6: bool

    @property
    def depthwise(self) -> bool:
        return bool(self.kind == TFLOperationName.DEPTHWISE_CONV_2D)


@dataclass(frozen=True, slots=True)
class Plan:
    """Bits of activations and weights, with exceptions for single layers.

    Depthwise weights always get at least eight bits, because LiteRT has no four-bit kernel for them.
    """

    activations: int = 8
    weights: int = 8
    algorithm: str = "min-max"  # for four-bit weights
    layers: Mapping[str, int] = field(default_factory=dict)  # weight bits of single layers; FLOAT leaves all in float

    def bits(self, layer: Layer) -> int:
        """Return the bits of a layer's weights."""
        bits = self.layers.get(layer.name, self.weights)
        return max(bits, 8) if layer.depthwise else bits

    def but(self, layer: Layer, bits: int) -> Plan:
        """Return this plan with another precision for one layer."""
        return replace(self, layers={**self.layers, layer.name: bits})


def layers_of(body: bytes) -> list[Layer]:
    """Return the convolutions of a float body in execution order."""
    graph = Graph(unpack(body))
    kinds = {
        schema.BuiltinOperator.CONV_2D: TFLOperationName.CONV_2D,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D: TFLOperationName.DEPTHWISE_CONV_2D,
    }
    found = []
    for operator in graph.graph.operators:
        kind = kinds.get(graph.model.operatorCodes[operator.opcodeIndex].builtinCode)
        if kind is None:
            continue
        output, weights = (graph.graph.tensors[number] for number in (operator.outputs[0], operator.inputs[1]))
        depthwise = kind == TFLOperationName.DEPTHWISE_CONV_2D
        count = int(np.prod(weights.shape))
        each = int(np.prod(weights.shape[1:3])) if depthwise else count // int(weights.shape[0])
        products = each * int(np.prod(output.shape))
        relu6 = operator.builtinOptions.fusedActivationFunction == schema.ActivationFunctionType.RELU6
        bias = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
        found.append(Layer(output.name.decode(), bias, kind, count, products, relu6))
    return found


def quantized(body: bytes, ranges: Ranges, plan: Plan) -> bytes:
    """Quantize `body` by `plan`. Input and outputs keep the types that the quantizer gives them."""
    manager = recipe_manager.RecipeManager()
    every = TFLOperationName.ALL_SUPPORTED
    manager.add_static_config(".*", every, plan.activations, 8)
    for layer in layers_of(body):
        bits, scope = plan.bits(layer), f"^{re.escape(layer.name)};$"
        if bits == FLOAT:
            manager.add_quantization_config(scope, layer.kind, algorithm_key=AlgorithmName.NO_QUANTIZE)
        elif bits != 8:
            manager.add_static_config(
                scope, layer.kind, plan.activations, bits, algorithm_key=ALGORITHMS[plan.algorithm]
            )
    return quantize(body, manager.get_quantization_recipe(), ranges)


def quantize(body: bytes, wanted: object, ranges: Ranges | None = None) -> bytes:
    """Quantize `body` by a recipe of LiteRT Quantizer, with all weights inside the flatbuffer."""
    try:
        quiet = io.StringIO()  # swallows its summary and progress bars
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about interpreters that keep all tensors
            return pack(unpack(bytes(quantizer.Quantizer(body, wanted).quantize(ranges).quantized_model)))
    except (ValueError, RuntimeError, TypeError) as error:
        raise CheckError(f"LiteRT Quantizer failed: {first_line(error)}") from error


def corrected(
    body: bytes, ranges: Ranges, plan: Plan, inputs: Sequence[NDArray[np.float32]], *, only: Layer | None = None
) -> bytes:
    """Correct the biases of `body`, so that quantization by `plan` keeps the mean of every channel.

    Layers are corrected in order, each on its real input in the quantized network. So the correction covers rounding,
    ranges and the errors of earlier layers (Nagel et al., Data-Free Quantization, 2019, with measured means).
    """
    layers = [layer for layer in layers_of(body) if only in (None, layer) and plan.bits(layer) != FLOAT]
    return _with_means(body, Graph(_with_wide_weights(quantized(body, ranges, plan))), layers, inputs)


def corrected_for_float16(body: bytes, inputs: Sequence[NDArray[Any]]) -> bytes:
    """Correct the biases of `body`, so that storing weights as float16 keeps the mean of every channel."""
    rounded = Graph(unpack(body))
    for operator in rounded.graph.operators:
        if rounded.model.operatorCodes[operator.opcodeIndex].builtinCode in _CHANNELS:
            weights = rounded.floats(operator.inputs[1])
            if np.abs(weights).max() > np.finfo(np.float16).max:
                raise CheckError(f"float16: weights of {np.abs(weights).max():.0f} exceed the range of float16")
            rounded.fill(operator.inputs[1], weights.astype(np.float16).astype(np.float32))
    return _with_means(body, rounded, layers_of(body), inputs)


def _with_means(body: bytes, rounded: Graph, layers: Sequence[Layer], inputs: Sequence[NDArray[Any]]) -> bytes:
    """Change the biases of `body`, so that `rounded`, the same network quantized, has the channel means of `body`."""
    layers = [layer for layer in layers if layer.bias >= 0]
    wanted = _means(interpreter_of_all(body), layers, inputs)
    settled, operators = Graph(unpack(body)), list(rounded.graph.operators)
    for layer, mean in zip(layers, wanted, strict=True):
        last, operator = next(
            (number, operator)
            for number, operator in enumerate(operators)
            if rounded.graph.tensors[operator.outputs[0]].name.decode() == layer.name
        )
        # Cut the network after this layer, so that it has one output. Earlier biases are already corrected.
        rounded.graph.operators, rounded.graph.outputs = operators[: last + 1], operator.outputs
        (found,) = _means(_interpreter(pack(rounded.model)), [layer], inputs)
        settled.fill(layer.bias, (settled.floats(layer.bias) - (found - mean)).astype(np.float32))
        _subtract(rounded, operator.inputs[2], found - mean)
    return pack(settled.model)


def _subtract(graph: Graph, bias: int, shift: _Means) -> None:
    """Subtract `shift` from a bias, which may be quantized."""
    tensor = graph.graph.tensors[bias]
    if tensor.type == schema.TensorType.FLOAT32:
        graph.fill(bias, (graph.floats(bias) - shift).astype(np.float32))
        return
    counts = graph.values(bias, np.int64 if tensor.type == schema.TensorType.INT64 else np.int32)
    graph.fill(bias, (counts - np.round(shift / np.asarray(tensor.quantization.scale))).astype(counts.dtype))


def without_dead_channels(body: bytes, ranges: Ranges | None = None) -> bytes:
    """Raise one weight of every channel whose weights are nearly zero beside its bias.

    The bias is quantized in steps of the weights' scale. In a dead channel it needs more steps than 32 bits can count,
    and the quantizer lets it overflow to the other sign. One weight of 1/10,000 of the bias prevents that. int16
    activations have finer steps: then `ranges` determine how large the weight must be.
    """
    graph = Graph(unpack(body))
    for operator in graph.graph.operators:
        axis = _CHANNELS.get(graph.model.operatorCodes[operator.opcodeIndex].builtinCode)
        if axis is None or len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        weights, bias = (graph.floats(operator.inputs[index]) for index in (1, 2))
        channels = np.moveaxis(weights, axis, 0).reshape(len(bias), -1)  # a copy for depthwise layers
        largest = np.abs(channels).argmax(axis=1)
        rows = np.arange(len(bias))
        share = _MIN_WEIGHT
        if ranges is not None:
            ends = ranges[graph.graph.tensors[operator.inputs[0]].name.decode()]
            share = _MIN_WEIGHT_INT16 / float(max(ends["max"].item(), -ends["min"].item()))
        least = share * np.abs(bias)
        dead = np.abs(channels[rows, largest]) < least
        if dead.any():
            channels[rows[dead], largest[dead]] = least[dead]
            back = np.moveaxis(channels.reshape(np.moveaxis(weights, axis, 0).shape), 0, axis)
            graph.fill(operator.inputs[1], back)
    return pack(graph.model)


def _means(engine: Interpreter, layers: Sequence[Layer], inputs: Sequence[NDArray[Any]]) -> list[_Means]:
    """Return the mean of each output channel of `layers`, over all images and positions."""
    entry = engine.get_input_details()[0]
    details = {detail["name"]: detail for detail in engine.get_tensor_details()}
    watched = [details[layer.name] for layer in layers]
    sums: list[_Means] = [np.zeros(1) for _ in layers]
    for tensor in inputs:
        engine.set_tensor(entry["index"], as_input(tensor, entry))
        engine.invoke()
        for number, detail in enumerate(watched):
            mean = engine.get_tensor(detail["index"]).mean(axis=(0, 1, 2), dtype=np.float64)
            scale, zero = detail["quantization"]
            sums[number] = sums[number] + (mean - zero) * (scale or 1.0)
    return [total / len(inputs) for total in sums]


def _interpreter(flatbuffer: bytes) -> Interpreter:
    engine = Interpreter(model_content=flatbuffer, num_threads=os.cpu_count() or 1)
    engine.allocate_tensors()
    return engine


def as_input(tensor: NDArray[Any], entry: Mapping[str, Any]) -> NDArray[Any]:
    """Quantize `tensor` for an input, given its details."""
    kind: np.dtype[Any] = np.dtype(entry["dtype"])
    scale, zero = entry["quantization"]
    if not scale:
        return np.asarray(tensor, kind)
    limits = np.iinfo(kind)
    return np.asarray(np.clip(np.round(tensor / scale) + zero, limits.min, limits.max), kind)


def _with_wide_weights(flatbuffer: bytes) -> Any:
    """Unpack a flatbuffer with four-bit weights stored in eight bits, which have fast kernels, without signatures."""
    model = unpack(flatbuffer)
    graph = Graph(model)
    model.signatureDefs = []
    for tensor in graph.graph.tensors:
        if tensor.type == schema.TensorType.INT4:
            packed = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8)
            halves = np.stack([np.left_shift(packed, 4) >> 4, packed >> 4], axis=1)  # shifts of int8 keep the sign
            wide = halves.reshape(-1)[: int(np.prod(tensor.shape))].astype(np.int8)
            tensor.type = schema.TensorType.INT8
            tensor.buffer = graph.buffer(wide.tobytes())
    return model
