"""The error of each layer against the same layer of a float twin, on the same pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from spot_convert.inspect.feeding import feed_both, image_input, pictures
from spot_convert.inspect.graph import Graph
from spot_convert.inspect.layers import Layer, list_layers
from spot_convert.inspect.running import Pair, Sums, compare
from spot_convert.inspect.weights import channel_scales, real_values
from spot_edge.errors import InterpreterError, ModelError
from spot_edge.isolated import Crash, call_isolated

__all__ = ["LayerError", "Side", "Twins", "compare_twins", "match"]

_SECONDS = 3600
_FEWEST_MATCHED = 0.9  # share of the weighted operators that must have a counterpart
_LEAST_ALIKE = 0.75  # share of the weights within a step of their counterparts', in the median layer
_FLOAT_STEP = 1e-3  # of the largest weight, where weights are floats
_WORST = 3


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two files."""

    name: str
    content: bytes
    graph: Graph


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far a layer's output is from the float twin's: all that was lost up to there, not in this layer alone."""

    index: int
    sqnr_db: float | None  # of the float output's energy to the error's; None where either is zero
    rms: float | None  # of the error, relative to that of the float output
    bias: float | None  # mean error, relative to the RMS of the float output


@dataclass(frozen=True, slots=True)
class Twins:
    """What was compared, and the error of each layer that has a counterpart, in order."""

    other: str
    pictures: int
    drawn: bool
    notes: tuple[str, ...]
    errors: tuple[LayerError, ...]

    def worst(self) -> list[LayerError]:
        """The layers with the least signal to noise, the worst first."""
        measured = [error for error in self.errors if error.sqnr_db is not None]
        return sorted(measured, key=lambda error: error.sqnr_db or 0.0)[:_WORST]

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self) | {
            "notes": list(self.notes),
            "errors": [asdict(error) for error in self.errors],
            "worst": [error.index for error in self.worst()],
        }


def compare_twins(own: Side, other: Side, named: Sequence[Path]) -> Twins:
    """Run both files on the named pictures, or on drawn lesions, and measure every layer that both have.

    Raises ModelError where `other` is no float twin of `own`, InterpreterError where LiteRT cannot run one of them, and
    InputError for a picture that cannot be judged.
    """
    fed, fed_other = image_input(own.graph, own.name), image_input(other.graph, other.name)
    if fed.shape != fed_other.shape:
        raise ModelError(f"{other.name}: takes {list(fed_other.shape)} where {own.name} takes {list(fed.shape)}")
    layers = list_layers(own.graph)
    matched = match(layers, list_layers(other.graph))
    _refuse_strangers(own, other, layers, matched)
    feed, feed_other = feed_both(fed, fed_other)
    shown = pictures(fed.shape[1], named)
    pairs = [Pair(mine.output.index, its.output.index, *_step(mine)) for mine, its in matched]
    inputs = [feed(picture) for picture in shown], [feed_other(picture) for picture in shown]
    try:
        sums = call_isolated(_SECONDS, compare, own.content, other.content, *inputs, pairs)
    except Crash as crash:
        raise InterpreterError(f"{own.name} or {other.name}: LiteRT {crash}") from None
    found = {mine.index: its for mine, its in matched}
    lacking = [layer.short for layer in layers if layer.index not in found]
    notes = [f"{side.name}: {each.note}" for side, each in ((own, feed), (other, feed_other)) if each.note]
    if lacking:
        notes.append(f"{len(lacking)} layers have no counterpart: {', '.join(lacking[:5])}{' …' * (len(lacking) > 5)}")
    errors = tuple(_error(mine.index, each) for (mine, _), each in zip(matched, sums, strict=True))
    return Twins(other.name, len(shown), not named, tuple(notes), errors)


def match(layers: Sequence[Layer], others: Sequence[Layer]) -> list[tuple[Layer, Layer]]:
    """Counterparts in both files' order: of equal kind and shape, and of the same name where both have that name."""
    own, other = (Counter(layer.name for layer in side) for side in (layers, others))
    shared = {name for name, count in own.items() if name and count == other[name] == 1}

    def key(layer: Layer) -> tuple[str, tuple[int, ...], str]:
        return layer.kind, layer.output.shape, layer.name if layer.name in shared else ""

    matcher = SequenceMatcher(None, [key(layer) for layer in layers], [key(layer) for layer in others], autojunk=False)
    return [
        (layers[block.a + i], others[block.b + i]) for block in matcher.get_matching_blocks() for i in range(block.size)
    ]


def _refuse_strangers(own: Side, other: Side, layers: Sequence[Layer], matched: Sequence[tuple[Layer, Layer]]) -> None:
    """ModelError unless `other` is the same network in float."""
    complaint = f"{other.name}: no float twin of {own.name}: "
    weighted = [layer for layer in layers if layer.own is not None] or layers
    places = {layer.index for layer in weighted}
    count = sum(mine.index in places for mine, _ in matched)
    if not count or count < _FEWEST_MATCHED * len(weighted):
        raise ModelError(f"{complaint}{count} of {len(weighted)} weighted layers have a counterpart in it")
    rounded = [its for _, its in matched if its.output.dtype != "float32"]
    if rounded:
        raise ModelError(f"{complaint}its layer {rounded[0].short} is {rounded[0].output.dtype}, not float32")
    alike = [share for mine, its in matched if (share := _alike(mine, its)) is not None]
    if alike and (middle := float(np.median(alike))) < _LEAST_ALIKE:
        raise ModelError(
            f"{complaint}the same network with other weights: in half of the layers {100 * (1 - middle):.0f} % or more "
            "of them differ by more than rounding"
        )


def _alike(mine: Layer, its: Layer) -> float | None:
    """The share of a layer's weights that lie within a step of quantization of the twin's; None without weights."""
    if mine.own is None or its.own is None or len(mine.own.tensor.shape) < 2:
        return None
    values, truth = real_values(mine.own.tensor), real_values(its.own.tensor)
    if values is None or truth is None or values.shape != truth.shape or not values.size:
        return None
    step = channel_scales(mine.own.tensor)
    return float((np.abs(values - truth) <= (np.abs(truth).max() * _FLOAT_STEP if step is None else step)).mean())


def _step(layer: Layer) -> tuple[float, int]:
    """Scale and zero point of a layer's output; of one in float, those that change nothing."""
    if len(layer.output.scales) != 1:
        return 1.0, 0
    return float(layer.output.scales[0]), int(layer.output.zeros[0])


def _error(index: int, sums: Sums) -> LayerError:
    if not np.isfinite([sums.signal, sums.error, sums.drift]).all() or not sums.signal:
        return LayerError(index, None, None, None)
    strength = np.sqrt(sums.signal / sums.count)
    ratio = float(10 * np.log10(sums.signal / sums.error)) if sums.error else None
    return LayerError(index, ratio, float(np.sqrt(sums.error / sums.signal)), float(sums.drift / sums.count / strength))
