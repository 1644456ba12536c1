"""The layers of a graph: its operators that compute, in order, with their weights and what they give out."""

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
# What converters write behind a layer's own name.
_STEPS = {
    *("convolution", "depthwise", "conv2d", "conv3d", "separable_conv2d", "matmul", "einsum", "dot", "add", "addv2"),
    *("mul", "sub", "mean", "relu", "relu6", "softmax", "sigmoid", "biasadd", "pad", "cast"),
}
_MAIN_STEPS = ("convolution", "depthwise", "conv2d", "conv3d", "matmul", "einsum", "dot")
_NAMELESS = "StatefulPartitionedCall"  # a quantized output; its name is on what is dequantized from it
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator that computes, and its output."""

    index: int  # of the operator in the graph
    name: str
    short: str
    kind: str
    computes: str
    output: Tensor
    own: Weights | None = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
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
        """Range of the weights and spread of their channels; None for an operator without weights."""
        if self.own is None:
            return None
        tensor = self.own.tensor
        last = len(tensor.shape) - 1 if self.kind in _CHANNELS_LAST else 0
        return weight_range(tensor, tensor.axis if len(tensor.scales) > 1 else last)


def list_layers(graph: Graph) -> list[Layer]:
    """The operators of `graph` that compute, in the order in which they run."""
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
    """What a reader would call each tensor: the layer's name in a converter's path, longer where two agree."""
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
    """Ever longer names for one tensor whose own name lists all that was fused into it, with semicolons between."""
    parts = [part for part in name.split(";") if part] or [name]
    main = [part for part in parts if _step(part).startswith(_MAIN_STEPS)]
    path = (main or parts)[0].split("/")
    ways = ["/".join(path[-length:]) for length in range(1, len(path) + 1)]
    if len(path) > 1 and _step(path[-1]) in _STEPS:
        ways = [path[-2], *ways[1:]]
    return ways


def _step(path: str) -> str:
    """The last part of a path without the number that tells copies apart."""
    head, _, number = path.split("/")[-1].lower().rpartition("_")
    return head if head and number.isdigit() else path.split("/")[-1].lower()


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:12]}…{name[-(_LONGEST - 13) :]}"
