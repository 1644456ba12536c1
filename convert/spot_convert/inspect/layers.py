"""List the layers of a graph: the operators that compute, in order, with their weights and outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from spot_convert.inspect.arithmetic import CONVERTING, MOVING, Weights, computes, constants, weights
from spot_convert.inspect.graph import Graph, Tensor
from spot_convert.inspect.weights import WeightRange, weight_range

__all__ = ["Layer", "list_layers", "short_names"]

_CHANNELS_LAST = {"DEPTHWISE_CONV_2D"}
# Endings that converters append to a layer's own name.
_STEPS = {
    *("convolution", "depthwise", "conv2d", "conv3d", "separable_conv2d", "matmul", "einsum", "dot", "add", "addv2"),
    *("mul", "sub", "mean", "relu", "relu6", "softmax", "sigmoid", "biasadd", "pad", "cast"),
}
_MAIN_STEPS = ("convolution", "depthwise", "conv2d", "conv3d", "matmul", "einsum", "dot")
_NAMELESS = "StatefulPartitionedCall"  # a quantized output; the tensor dequantized from it has the name
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Layer:
    """One computing operator, and its output."""

    index: int  # of the operator in the graph
    name: str
    short: str
    kind: str
    computes: str
    output: Tensor
    own: Weights | None = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "index": self.index,
            "name": self.name,
            "short": self.short,
            "kind": self.kind,
            "computes": self.computes,
            "shape": list(self.output.shape),
            "dtype": self.output.dtype,
            "scale": float(self.output.scales[0]) if len(self.output.scales) == 1 else None,
            "zero_point": int(self.output.zeros[0]) if len(self.output.scales) == 1 else None,
        }

    def weight_range(self) -> WeightRange | None:
        """Return range and channel spread of the weights; None for an operator without weights."""
        if self.own is None:
            return None
        tensor = self.own.tensor
        last = len(tensor.shape) - 1 if self.kind in _CHANNELS_LAST else 0
        return weight_range(tensor, tensor.axis if len(tensor.scales) > 1 else last)


def list_layers(graph: Graph) -> list[Layer]:
    """Return the computing operators of `graph` in execution order."""
    known = constants(graph)
    found = [
        (index, operator, graph.tensors[operator.outputs[0]])
        for index, operator in enumerate(graph.operators)
        if operator.code.kind not in MOVING | CONVERTING and operator.outputs and operator.outputs[0] >= 0
    ]
    after = {
        operator.inputs[0]: graph.tensors[operator.outputs[0]].name
        for operator in graph.operators
        if operator.code.kind == "DEQUANTIZE" and operator.inputs and operator.outputs
    }
    outputs = [output for _, _, output in found]
    shorts = short_names(
        [after.get(each.index, each.name) if each.name.startswith(_NAMELESS) else each.name for each in outputs]
    )
    return [
        Layer(
            index,
            output.name,
            short,
            operator.code.custom or operator.code.kind,
            computes(graph, operator, known),
            output,
            weights(operator, known),
        )
        for (index, operator, output), short in zip(found, shorts, strict=True)
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """Shorten tensor names to the layer name in a converter's path, or longer where two would be equal."""
    ways = [_ways(name) for name in names]
    chosen = [0] * len(names)
    for _ in range(max(map(len, ways), default=1) - 1):
        seen = Counter(way[place] for way, place in zip(ways, chosen, strict=True))
        chosen = [
            min(place + 1, len(way) - 1) if seen[way[place]] > 1 else place
            for way, place in zip(ways, chosen, strict=True)
        ]
    return [_cut(way[place]) for way, place in zip(ways, chosen, strict=True)]


def _ways(name: str) -> list[str]:
    """Return longer and longer names for a tensor. Its full name lists everything fused into it, with semicolons."""
    parts = [part for part in name.split(";") if part] or [name]
    main = [part for part in parts if _step(part).startswith(_MAIN_STEPS)]
    path = (main or parts)[0].split("/")
    ways = ["/".join(path[-length:]) for length in range(1, len(path) + 1)]
    if len(path) > 1 and _step(path[-1]) in _STEPS:
        ways = [path[-2], *ways[1:]]
    return ways


def _step(path: str) -> str:
    """Return the last part of a path without the number that distinguishes copies."""
    head, _, number = path.split("/")[-1].lower().rpartition("_")
    return head if head and number.isdigit() else path.split("/")[-1].lower()


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:12]}…{name[-(_LONGEST - 13) :]}"
