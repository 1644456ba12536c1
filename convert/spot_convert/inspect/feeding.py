"""Feed images to any file: as grey levels to uint8 inputs, else as the values that the grey levels stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.drawn import KINDS, draw_lesion
from spot_convert.inspect.graph import Graph, Tensor
from spot_edge.errors import ModelError
from spot_edge.image.source import Source
from spot_edge.image.tensor import SMALLEST_SIDE, prepare
from spot_edge.model.spec import ImageSpec

__all__ = ["DRAWN", "Feed", "feed_both", "image_input", "pictures"]

DRAWN = 8  # lesions, where no pictures are named
_SCALE, _ZERO = 1 / 127.5, 127.5  # what a grey level stands for, unless a file says otherwise


class Feed:
    """How grey levels become what one file takes, and a sentence that says so where it is not plain."""

    def __init__(self, tensor: Tensor, scale: float, zero: float) -> None:
        self._tensor, self._scale, self._zero = tensor, scale, zero
        standing = "x/127.5-1" if (scale, zero) == (_SCALE, _ZERO) else f"(x-{zero:g})*{scale:.4g}"
        self.note = "" if tensor.dtype == "uint8" else f"its {tensor.dtype} input is fed grey levels x as {standing}"

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.generic]:
        """The input for the picture `uint8[1,S,S,3]`."""
        if self._tensor.dtype == "uint8":
            return picture
        real = (picture.astype(np.float32) - np.float32(self._zero)) * np.float32(self._scale)
        if self._tensor.dtype == "float32":
            return real
        steps = np.round(real / self._tensor.scales[0]) + self._tensor.zeros[0]
        return np.asarray(steps.clip(-128, 127), np.int8)


def image_input(graph: Graph, name: str) -> Tensor:
    """The one input of a graph that takes square pictures in colour; ModelError, naming the file, for any other."""
    inputs = [graph.tensors[place] for place in graph.inputs]
    told = ", ".join(f"{tensor.dtype}{list(tensor.shape)}" for tensor in inputs) or "nothing"
    if len(inputs) == 1:
        (tensor,) = inputs
        shape, kind = tensor.shape, tensor.dtype
        square = len(shape) == 4 and shape[0] == 1 and shape[1] == shape[2] > 0 and shape[3] == 3
        if square and (kind in ("uint8", "float32") or (kind == "int8" and len(tensor.scales) == 1)):
            return tensor
    raise ModelError(
        f"{name}: takes {told}: only files that take one picture, uint8, int8 or float32[1,S,S,3], can be compared"
    )


def feed_both(own: Tensor, other: Tensor) -> tuple[Feed, Feed]:
    """Feeds that show both files the same: the values that a quantized uint8 input gives them, if one does."""
    said = [tensor for tensor in (own, other) if tensor.dtype == "uint8" and len(tensor.scales) == 1]
    scale, zero = (float(said[0].scales[0]), float(said[0].zeros[0])) if said else (_SCALE, _ZERO)
    return Feed(own, scale, zero), Feed(other, scale, zero)


def pictures(size: int, named: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """The named pictures, or drawn lesions, as `uint8[1,size,size,3]`; InputError for one that cannot be judged."""
    spec = ImageSpec(size)
    sources = [Source.of(path) for path in named] or [Source.of(_drawn(seed, size)) for seed in range(DRAWN)]
    return [prepare(source, spec).tensor for source in sources]


def _drawn(seed: int, size: int) -> NDArray[np.uint8]:
    height = max(size, 2 * SMALLEST_SIDE)  # no larger than is looked at: drawing takes longer than running
    return np.asarray(draw_lesion(seed, 4 * height // 3, height, KINDS[seed % len(KINDS)]))
