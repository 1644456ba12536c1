"""What a picture looks like in a few numbers: how sharp, how bright, which colours, how coarse its structures.

Taken from the network's own input, so that they cost next to nothing and are the same wherever the tensor is.
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
OOD_FEATURES = slice(5, None)  # of APPEARANCE: what distances are measured with; the first are judged alone
_WHITE, _BLACK = 250, 20  # levels of green that count as burnt out, and as dark
_CELLS = 8  # a side
_LEAST = 0.5  # grey levels, added to differences: below them lies only rounding


def appearance_of(tensor: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The numbers named by APPEARANCE, of a tensor `uint8[1,S,S,3]`.

    Sharpness is how large the differences between neighbouring pixels are against those four pixels apart, in the
    direction in which they are smaller: blur and motion bring it to a quarter, whatever is in the picture.
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
    rows = planes[:, :side, :side].reshape(3, _CELLS, step, side).sum(2)  # not by products: some BLAS are very slow
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
    """The mean difference between pixels `step` apart."""
    apart = plane[step:] - plane[:-step] if axis == 0 else plane[:, step:] - plane[:, :-step]
    return float(np.abs(apart, out=apart).mean())


def _spread(plane: NDArray[np.float32]) -> float:
    """The standard deviation, by one product: in one pass."""
    values = plane.ravel() - plane.mean()
    return float(np.sqrt(values @ values / len(values)))
