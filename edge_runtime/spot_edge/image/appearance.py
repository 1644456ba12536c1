"""An image's appearance in a few numbers: sharpness, brightness, colours and how coarse its structures are.

They come from the network's input, so they cost almost nothing and are the same wherever the tensor is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    planes = np.ascontiguousarray(tensor[0].transpose(2, 0, 1), np.float32)
    red, green, blue = planes
    levels = np.bincount(tensor[0, ::2, ::2, 1].ravel(), minlength=256).cumsum()
    levels = levels / levels[-1]
    low, high = (float(np.searchsorted(levels, share)) / 255 for share in (0.05, 0.95))
    near, far, wide = ([_difference(green, step, axis) for axis in (0, 1)] for step in (1, 4, min(16, len(green) // 4)))
    reds, blues = red - green, blue - green
    step = len(green) // _CELLS
    side = _CELLS * step
    rows = planes[:, :side, :side].reshape(3, _CELLS, step, side).sum(2)  # no matrix product: some BLAS are very slow
    cells = rows.reshape(3, _CELLS, _CELLS, step).sum(3) / np.float32(255 * step * step)
    inner = cells[:, 2:-2, 2:-2]
    middle = inner.mean((1, 2))
    rim = (cells.sum((1, 2)) - inner.sum((1, 2))) / (_CELLS**2 - inner[0].size)
    spreads = [_spread(values) for values in (reds, blues, green, 255 * cells[1])]
    ratios = [n / (f + _LEAST) for n, f in zip(near, far, strict=True)]
    return np.array(
        [
            *(min(ratios), high, 1 - levels[_WHITE - 1], levels[_BLACK], high - low),
            *rim,
            *middle,
            *np.log1p(spreads),
            *np.log([(n + _LEAST) / (f + _LEAST) for n, f in zip(near, far, strict=True)]),
            *np.log([(f + _LEAST) / (w + _LEAST) for f, w in zip(far, wide, strict=True)]),
            *np.log1p(wide),
            float(np.count_nonzero(reds < 0) / reds.size) ** 0.5,
        ],
        np.float32,
    )


def _difference(plane: NDArray[np.float32], step: int, axis: int) -> float:
    """The mean absolute difference of pixels that are `step` apart."""
    difference = plane[step:] - plane[:-step] if axis == 0 else plane[:, step:] - plane[:, :-step]
    return float(np.abs(difference, out=difference).mean())


def _spread(plane: NDArray[np.float32]) -> float:
    """The standard deviation, in one pass."""
    values = plane.ravel() - plane.mean()
    return float(np.sqrt(values @ values / len(values)))
