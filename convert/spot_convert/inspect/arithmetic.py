"""Find out in which types a graph really computes, and name its kind of quantization. File names are often wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spot_convert.inspect.graph import Graph, Operator, Tensor

__all__ = ["CONVERTING", "MOVING", "Quantization", "Weights", "computes", "constants", "quantization", "weights"]

_WEIGHTED = {
    *("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "CONV_3D", "CONV_3D_TRANSPOSE", "FULLY_CONNECTED"),
    *("BATCH_MATMUL", "EMBEDDING_LOOKUP", "SVDF", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM", "RNN"),
    *("BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_RNN"),
    *("STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL"),
}
# Operators that only move values, and operators that only convert them to another type.
MOVING = {
    *(
        "RESHAPE",
        "SQUEEZE",
        "EXPAND_DIMS",
        "TRANSPOSE",
        "PAD",
        "PADV2",
        "MIRROR_PAD",
        "SLICE",
        "STRIDED_SLICE",
        "SHAPE",
    ),
    *("SPLIT", "SPLIT_V", "PACK", "UNPACK", "TILE", "BROADCAST_TO", "REVERSE_V2", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"),
    *("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "FILL", "RANGE", "RANK", "IF", "WHILE", "CALL", "CALL_ONCE"),
    *("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "STABLEHLO_COMPOSITE"),
}
CONVERTING = {"QUANTIZE", "DEQUANTIZE", "CAST", "DENSIFY"}
_INDEX = {"int32", "int64", "uint32", "uint64", "bool", "string", "resource", "variant"}
_WHOLE = {"int2", "int4", "uint4", "int8", "uint8", "int16"}


@dataclass(frozen=True, slots=True)
class Weights:
    """An operator's largest constant, and whether it is dequantized before use."""

    tensor: Tensor
    dequantized: bool


@dataclass(frozen=True, slots=True)
class Quantization:
    """The kind of quantization of a file, as a short name and as a sentence."""

    kind: str
    words: str


def constants(graph: Graph) -> dict[int, Weights]:
    """Return the constants by the index of the tensor they are used as, directly or after DEQUANTIZE or DENSIFY."""
    found = {tensor.index: Weights(tensor, False) for tensor in graph.tensors if tensor.data is not None}
    for operator in graph.operators:
        if operator.code.kind in ("DEQUANTIZE", "DENSIFY") and operator.outputs:
            source = found.get(operator.inputs[0]) if operator.inputs else None
            if source is not None:
                found[operator.outputs[0]] = Weights(source.tensor, operator.code.kind == "DEQUANTIZE")
    return found


def weights(operator: Operator, known: dict[int, Weights]) -> Weights | None:
    """Return the operator's weights, given the graph's `constants`: not its axes or shapes, nor an integer bias."""
    if operator.code.kind in MOVING | CONVERTING:
        return None
    chosen = [known[i] for i in operator.inputs if i in known and known[i].tensor.dtype not in _INDEX]
    return max(
        chosen, key=lambda each: math.prod(each.tensor.shape), default=None
    )  # the first if equal: a bias comes later


def computes(graph: Graph, operator: Operator, known: dict[int, Weights]) -> str:
    """Return the types an operator computes in, such as `int8`, `uint8 → int8`, `hybrid: float32, int8 weights`."""
    inward, outward = _activations(graph, operator, known)
    own = weights(operator, known)
    text = inward if inward == outward else f"{inward} → {outward}"
    if own is None or own.tensor.dtype == inward:
        return text
    if own.dequantized:
        return f"{text}, {own.tensor.dtype} weights dequantized"
    return f"{'hybrid: ' if inward.startswith('float') else ''}{text}, {own.tensor.dtype} weights"


def quantization(graphs: Sequence[Graph]) -> Quantization:
    """Return the kind of quantization of the whole file."""
    ways: Counter[str] = Counter()
    kinds: Counter[str] = Counter()  # types of the weights
    for graph in graphs:
        known = constants(graph)
        for operator in graph.operators:
            own = weights(operator, known)
            if operator.code.kind in _WEIGHTED and own is not None:
                ways[_way(_activations(graph, operator, known)[0], own)] += 1
                kinds[own.tensor.dtype] += 1
    left, lowered = ways.pop("float32", 0), sorted(kinds.keys() - {"float32"})
    rest = f"; {left} of {left + ways.total()} weighted operators are entirely float32" if left else ""
    types = " and ".join(lowered)
    if not ways:
        activations = {way for graph in graphs for way, _ in _computing(graph)}
        if not activations:
            return Quantization("nothing", "it computes nothing")
        if left or activations == {"float32"}:
            return Quantization("float32", "float32, not quantized")
        return Quantization("without weights", f"no weighted operators; computes in {', '.join(sorted(activations))}")
    if len(ways) > 1:
        parts = [f"{count} {way}" for way, count in ways.most_common()] + ([f"{left} float32"] if left else [])
        return Quantization("mixed", f"mixed; weighted operators: {', '.join(parts)}")
    (way,) = ways
    if way == "dynamic range":
        words = f"dynamic range ({types} weights, float activations): not a full-integer model{rest}"
    elif way == "float16 weights":
        words = f"float16 weights, dequantized; computes in float32{rest}"
    elif way == "weight-only":
        words = f"weight-only ({types} weights, dequantized; computes in float32): not a full-integer model{rest}"
    elif left:
        return Quantization("mixed", f"mixed: {way} operators{rest}")
    else:
        return _full(graphs, way)
    return Quantization(way, words)


def _full(graphs: Sequence[Graph], way: str) -> Quantization:
    """Describe a file whose weighted operators all compute in integers: its other operators may not."""
    order = [pair for graph in graphs for pair in _computing(graph)]
    last = max(place for place, (_, kind) in enumerate(order) if kind in _WEIGHTED)
    early = [kind for each, kind in order[:last] if each.startswith("float")]
    tail = [kind for each, kind in order[last:] if each.startswith("float")]
    if early:
        return Quantization("mixed", f"mixed: weighted operators are {way}, but {_listed(early)} compute in float")
    if tail:
        kind = f"full {way} body with float tail"
        return Quantization(kind, f"{kind}: weights and activations are {way}; {_listed(tail)} at the end are float32")
    ends = {graph.tensors[i].dtype for graph in graphs for i in (*graph.inputs, *graph.outputs)}
    return Quantization(
        f"full {way}", f"full {way}: weights and activations; input and output {' and '.join(sorted(ends))}"
    )


def _way(inward: str, own: Weights) -> str:
    if own.tensor.dtype in _WHOLE and inward.startswith("float"):
        return "weight-only" if own.dequantized else "dynamic range"
    if own.tensor.dtype == "float16" and inward == "float32":
        return "float16 weights"
    if own.tensor.dtype == inward:
        return inward
    return f"{inward} with {own.tensor.dtype} weights"


def _computing(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield type and kind of each operator that does more than move or convert values."""
    known = constants(graph)
    for operator in graph.operators:
        if operator.code.kind not in MOVING | CONVERTING:
            yield _activations(graph, operator, known)[0], operator.code.kind


def _activations(graph: Graph, operator: Operator, known: dict[int, Weights]) -> tuple[str, str]:
    """Return the types of inputs and outputs, without constants, and without indices if there is anything else."""
    fed = [graph.tensors[i].dtype for i in operator.inputs if i >= 0 and i not in known]
    if not set(fed) - _INDEX:  # a look-up: the type of its table matters, not that of its indices
        fed += [graph.tensors[i].dtype for i in operator.inputs if i in known]
    made = [graph.tensors[i].dtype for i in operator.outputs if i >= 0]
    return _main(fed) or _main(made), _main(made)


def _main(types: Iterable[str]) -> str:
    seen = list(dict.fromkeys(types))
    return "+".join([each for each in seen if each not in _INDEX] or seen)


def _listed(kinds: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(kinds))
