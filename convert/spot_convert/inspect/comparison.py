"""Measure the error of each layer against the same layer of the float32 baseline, on the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from spot_convert.inspect.graph import Graph
from spot_convert.inspect.inputs import image_input, input_images, matching_feeds
from spot_convert.inspect.layers import Layer, list_layers
from spot_convert.inspect.running import Pair, Sums, compare
from spot_convert.inspect.weights import channel_scales, real_values
from spot_edge.errors import InterpreterError, ModelError
from spot_edge.isolated import Crash, call_isolated

__all__ = ["Comparison", "LayerError", "Side", "compare_layers", "match"]

_SECONDS = 3600
_MIN_MATCHED = 0.9  # share of the weighted operators that must have a counterpart
_MIN_EQUAL = 0.75  # share of the weights within one quantization step of the baseline's, in the median layer
_FLOAT_STEP = 1e-3  # the step of float weights, relative to the largest
_WORST = 3


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two files."""

    name: str
    content: bytes
    graph: Graph


@dataclass(frozen=True, slots=True)
class LayerError:
    """The error of a layer's output against the baseline. It includes the errors of all earlier layers."""

    index: int
    sqnr_db: float | None  # energy of the float output over that of the error; None if either is zero
    rms: float | None  # RMS error, relative to the RMS of the float output
    bias: float | None  # mean error, relative to the RMS of the float output


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared, and the error of each layer that has a counterpart, in order."""

    other: str
    images: int
    drawn: bool
    notes: tuple[str, ...]
    errors: tuple[LayerError, ...]

    def worst(self) -> list[LayerError]:
        """Return the layers with the lowest signal-to-noise ratio, worst first."""
        measured = [error for error in self.errors if error.sqnr_db is not None]
        return sorted(measured, key=lambda error: error.sqnr_db or 0.0)[:_WORST]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self) | {
            "notes": list(self.notes),
            "errors": [asdict(error) for error in self.errors],
            "worst": [error.index for error in self.worst()],
        }


def compare_layers(own: Side, other: Side, named: Sequence[Path]) -> Comparison:
    """Run both files on the named images, or on drawn lesions, and measure every layer that both have.

    Raise ModelError if `other` is not the float32 baseline of `own`, InterpreterError if LiteRT cannot run one of them,
    and InputError if an image cannot be read.
    """
    entry, other_entry = image_input(own.graph, own.name), image_input(other.graph, other.name)
    if entry.shape != other_entry.shape:
        raise ModelError(
            f"{other.name}: its input is {list(other_entry.shape)}, but {own.name} has {list(entry.shape)}"
        )
    layers = list_layers(own.graph)
    matched = match(layers, list_layers(other.graph))
    _check_baseline(own, other, layers, matched)
    feed, other_feed = matching_feeds(entry, other_entry)
    images = input_images(entry.shape[1], named)
    pairs = [Pair(mine.output.index, its.output.index, *_step(mine)) for mine, its in matched]
    inputs = [feed(image) for image in images], [other_feed(image) for image in images]
    try:
        sums = call_isolated(_SECONDS, compare, own.content, other.content, *inputs, pairs)
    except Crash as crash:
        raise InterpreterError(f"{own.name} or {other.name}: LiteRT {crash}") from None
    found = {mine.index: its for mine, its in matched}
    lacking = [layer.short for layer in layers if layer.index not in found]
    notes = [f"{side.name}: {each.note}" for side, each in ((own, feed), (other, other_feed)) if each.note]
    if lacking:
        notes.append(f"{len(lacking)} layers have no counterpart: {', '.join(lacking[:5])}{' …' * (len(lacking) > 5)}")
    errors = tuple(_error(mine.index, each) for (mine, _), each in zip(matched, sums, strict=True))
    return Comparison(other.name, len(images), not named, tuple(notes), errors)


def match(layers: Sequence[Layer], others: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    """Pair the layers of both files in order: equal kind and shape, and the same name if both files have that name."""
    own, other = (Counter(layer.name for layer in side) for side in (layers, others))
    shared = {name for name, count in own.items() if name and count == other[name] == 1}

    def key(layer: Layer) -> tuple[str, tuple[int, ...], str]:
        return layer.kind, layer.output.shape, layer.name if layer.name in shared else ""

    matcher = SequenceMatcher(None, [key(layer) for layer in layers], [key(layer) for layer in others], autojunk=False)
    return [
        (layers[block.a + i], others[block.b + i]) for block in matcher.get_matching_blocks() for i in range(block.size)
    ]


def _check_baseline(own: Side, other: Side, layers: Sequence[Layer], matched: Sequence[tuple[Layer, Layer]]) -> None:
    """Raise ModelError unless `other` is the same network in float32."""
    problem = f"{other.name}: not the float32 baseline of {own.name}: "
    weighted = [layer for layer in layers if layer.own is not None] or layers
    places = {layer.index for layer in weighted}
    count = sum(mine.index in places for mine, _ in matched)
    if not count or count < _MIN_MATCHED * len(weighted):
        raise ModelError(f"{problem}only {count} of {len(weighted)} weighted layers have a counterpart in it")
    rounded = [its for _, its in matched if its.output.dtype != "float32"]
    if rounded:
        raise ModelError(f"{problem}its layer {rounded[0].short} is {rounded[0].output.dtype}")
    equal = [share for mine, its in matched if (share := _equal_share(mine, its)) is not None]
    if equal and (median := float(np.median(equal))) < _MIN_EQUAL:
        raise ModelError(
            f"{problem}the weights differ: in half of the layers, {100 * (1 - median):.0f} % of them or more differ by "
            "more than rounding"
        )


def _equal_share(mine: Layer, its: Layer) -> float | None:
    """Return the share of a layer's weights within one quantization step of the baseline's; None without weights."""
    if mine.own is None or its.own is None or len(mine.own.tensor.shape) < 2:
        return None
    values, truth = real_values(mine.own.tensor), real_values(its.own.tensor)
    if values is None or truth is None or values.shape != truth.shape or not values.size:
        return None
    step = channel_scales(mine.own.tensor)
    return float((np.abs(values - truth) <= (np.abs(truth).max() * _FLOAT_STEP if step is None else step)).mean())


def _step(layer: Layer) -> tuple[float, int]:
    """Return scale and zero point of a layer's output; 1 and 0 for a float output."""
    if len(layer.output.scales) != 1:
        return 1.0, 0
    return float(layer.output.scales[0]), int(layer.output.zeros[0])


def _error(index: int, sums: Sums) -> LayerError:
    if not np.isfinite([sums.signal, sums.error, sums.drift]).all() or not sums.signal:
        return LayerError(index, None, None, None)
    strength = np.sqrt(sums.signal / sums.count)
    ratio = float(10 * np.log10(sums.signal / sums.error)) if sums.error else None
    return LayerError(index, ratio, float(np.sqrt(sums.error / sums.signal)), float(sums.drift / sums.count / strength))
