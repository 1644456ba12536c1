"""Prepare images for any file: grey levels for a uint8 input, else the values that the grey levels stand for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.drawn import KINDS, draw_lesion
from spot_convert.inspect.graph import Graph, Tensor
from spot_edge.errors import ModelError
from spot_edge.image.limits import SMALLEST_SIDE
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec

__all__ = ["DRAWN", "Feed", "image_input", "input_images", "matching_feeds"]

DRAWN = 8  # lesions, if no images are named
_SCALE, _ZERO = 1 / 127.5, 127.5  # the default scaling of grey levels


class Feed:
    """Converts grey levels to the input of one file. `note` describes the conversion if there is one."""

    def __init__(self, tensor: Tensor, scale: float, zero: float) -> None:
        self._tensor, self._scale, self._zero = tensor, scale, zero
        formula = "x/127.5-1" if (scale, zero) == (_SCALE, _ZERO) else f"(x-{zero:g})*{scale:.4g}"
        self.note = "" if tensor.dtype == "uint8" else f"its {tensor.dtype} input gets grey levels x as {formula}"

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.generic]:
        """Return the input for the image `uint8[1,S,S,3]`."""
        if self._tensor.dtype == "uint8":
            return image
        real = (image.astype(np.float32) - np.float32(self._zero)) * np.float32(self._scale)
        if self._tensor.dtype == "float32":
            return real
        steps = np.round(real / self._tensor.scales[0]) + self._tensor.zeros[0]
        return np.asarray(steps.clip(-128, 127), np.int8)


def image_input(graph: Graph, name: str) -> Tensor:
    """Return the input of a graph that takes one square colour image. Raise ModelError for any other graph."""
    inputs = [graph.tensors[place] for place in graph.inputs]
    found = ", ".join(f"{tensor.dtype}{list(tensor.shape)}" for tensor in inputs) or "nothing"
    if len(inputs) == 1:
        (tensor,) = inputs
        shape, kind = tensor.shape, tensor.dtype
        square = len(shape) == 4 and shape[0] == 1 and shape[1] == shape[2] > 0 and shape[3] == 3
        if square and (kind in ("uint8", "float32") or (kind == "int8" and len(tensor.scales) == 1)):
            return tensor
    raise ModelError(
        f"{name}: takes {found}: can only compare files that take one image as uint8, int8 or float32[1,S,S,3]"
    )


def matching_feeds(own: Tensor, other: Tensor) -> tuple[Feed, Feed]:
    """Return feeds that show both files the same values: those of a quantized uint8 input, if one file has one."""
    quantized = [tensor for tensor in (own, other) if tensor.dtype == "uint8" and len(tensor.scales) == 1]
    scale, zero = (float(quantized[0].scales[0]), float(quantized[0].zeros[0])) if quantized else (_SCALE, _ZERO)
    return Feed(own, scale, zero), Feed(other, scale, zero)


def input_images(size: int, named: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Prepare the named images, or drawn lesions, as `uint8[1,size,size,3]`. Raise InputError for an unreadable one."""
    spec = ImageSpec(size)
    sources = [Source.of(path) for path in named] or [Source.of(_drawn(seed, size)) for seed in range(DRAWN)]
    return [prepare(source, spec).tensor for source in sources]


def _drawn(seed: int, size: int) -> NDArray[np.uint8]:
    height = max(size, 2 * SMALLEST_SIDE)  # no larger than needed: drawing takes longer than running
    return np.asarray(draw_lesion(seed, 4 * height // 3, height, KINDS[seed % len(KINDS)]))
