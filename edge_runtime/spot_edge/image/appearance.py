"""An image's appearance in a few numbers: sharpness, brightness, colours and how coarse its structures are.

They come from the network's input, so they cost almost nothing and are the same wherever the tensor is. Sums are of
whole numbers, which are exact and several times as fast as floats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import log, log1p, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["APPEARANCE", "OOD_FEATURES", "appearance_of"]

APPEARANCE = (
    *("sharpness", "light", "white", "black", "contrast"),
    *("rim red", "rim green", "rim blue", "middle red", "middle green", "middle blue"),
    *("spread of red less green", "spread of blue less green", "spread of green", "spread of cells"),
    *("fine down", "fine across", "coarse down", "coarse across", "large down", "large across"),
    "green over red",
)
OOD_FEATURES = slice(5, None)  # the part of APPEARANCE that OOD distances use; each of the first five has its own limit
_WHITE, _BLACK = 250, 20  # green levels from which a pixel counts as burnt out, and up to which it counts as dark
_CELLS = 8  # per side
_LEAST = 0.5  # grey levels, added to differences: anything smaller is rounding


def appearance_of(tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the features named by APPEARANCE for a tensor `uint8[1,S,S,3]`.

    Sharpness is the mean difference of neighbouring pixels divided by that of pixels four apart, in the direction where
    it is smaller. Blur and motion bring it down to a quarter, whatever the image shows.
    """
    size = tensor.shape[1]
    planes = np.ascontiguousarray(tensor[0].transpose(2, 0, 1))
    red, green, blue = planes.reshape(3, -1)
    levels = np.bincount(planes[1, ::2, ::2].ravel(), minlength=256).cumsum()
    levels = levels.tolist()
    count = levels[-1]
    low, high = bisect_left(levels, 0.05 * count) / 255, bisect_left(levels, 0.95 * count) / 255
    differences = _differences(planes[1], (1, 4, min(16, size // 4)))
    (near_down, near_across), (far_down, far_across), (wide_down, wide_across) = differences
    step = size // _CELLS
    side = _CELLS * step
    # No matrix product: some BLAS are very slow.
    rows = planes[:, :side, :side].reshape(3, _CELLS, step, side).sum(2, _sum_type(step))
    cells = rows.reshape(3, _CELLS, _CELLS, step).sum(3, np.uint32)
    whole, inner, area = cells.sum((1, 2)), cells[:, 2:-2, 2:-2].sum((1, 2)), step * step
    middle = inner / (255 * area * 4**2)
    rim = (whole - inner) / (255 * area * (_CELLS**2 - 4**2))
    reds, greens, blues = (whole if side == size else planes.sum((1, 2))).tolist()
    plane = green.astype(np.float32)
    spreads = (
        _spread(red - plane, reds - greens),
        _spread(blue - plane, blues - greens),
        _spread(plane, greens),
        _spread((cells[1] / area).ravel(), int(whole[1]) / area),
    )
    down, across = (near_down + _LEAST) / (far_down + _LEAST), (near_across + _LEAST) / (far_across + _LEAST)
    return np.array(
        [
            min(near_down / (far_down + _LEAST), near_across / (far_across + _LEAST)),
            *(high, 1 - levels[_WHITE - 1] / count, levels[_BLACK] / count, high - low),
            *rim.tolist(),
            *middle.tolist(),
            *map(log1p, spreads),
            *(log(down), log(across)),
            log((far_down + _LEAST) / (wide_down + _LEAST)),
            log((far_across + _LEAST) / (wide_across + _LEAST)),
            *(log1p(wide_down), log1p(wide_across)),
            sqrt(int(np.count_nonzero(red < green)) / red.size),
        ],
        np.float32,
    )


def _differences(plane: NDArray[np.uint8], steps: Sequence[int]) -> list[list[float]]:
    """The mean absolute differences of pixels that are so many steps apart, down and across."""
    size, flat = len(plane), plane.ravel()
    found = np.zeros((2 * len(steps), flat.size), np.uint8)
    for number, step in enumerate(steps):
        for down_or_across, apart in zip(found[2 * number :], (step * size, step), strict=False):
            differences = down_or_across[:-apart]
            np.maximum(flat[apart:], flat[:-apart], out=differences)
            differences -= np.minimum(flat[apart:], flat[:-apart])
        found[2 * number + 1].reshape(size, size)[:, -step:] = 0  # these span two rows
    sums = found.reshape(len(found), size, size).sum(1, _sum_type(size)).sum(1, np.uint64).tolist()
    return [[total / (size * (size - step)) for total in sums[2 * i : 2 * i + 2]] for i, step in enumerate(steps)]


def _sum_type(count: int) -> type[np.unsignedinteger[Any]]:
    """A type for sums of `count` bytes: the smaller, the faster."""
    return np.uint16 if 255 * count < 2**16 else np.uint32


def _spread(values: NDArray[np.float32], total: float) -> float:
    """The standard deviation of `values`, which sum up to `total`. Overwrites them."""
    values -= np.float32(total / len(values))
    return sqrt(values @ values / len(values))
