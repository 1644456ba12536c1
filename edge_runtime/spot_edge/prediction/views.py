"""The mean over turned and mirrored views of an image (test-time augmentation).

A lesion looks alike from every side, but a network's scores differ a little. Their mean is steadier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Invoke", "mean_of_views", "turned", "turned_back"]

Invoke: TypeAlias = "Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]"

# Quarter turns of the eight symmetries of a square; every second one is also mirrored. The first two and the first four
# are groups as well: any N of 2, 4 and 8 treats the images of one group alike.
_TURNS = (0, 0, 2, 2, 1, 1, 3, 3)


def turned(image: NDArray[Any], number: int, axes: tuple[int, int] = (0, 1)) -> NDArray[Any]:
    """View `number` of an image, from 0: turned counterclockwise, then mirrored if `number` is odd."""
    view = np.rot90(image, _TURNS[number], axes)
    return np.flip(view, axes[1]) if number % 2 else view


def turned_back(view: NDArray[Any], number: int, axes: tuple[int, int] = (0, 1)) -> NDArray[Any]:
    """The image whose view `number` is `view`."""
    image = np.flip(view, axes[1]) if number % 2 else view
    return np.rot90(image, -_TURNS[number], axes)


def mean_of_views(invoke: Invoke, count: int, temperature: float) -> Invoke:
    """A replacement of `invoke` that runs the network on `count` views of a tensor.

    The evidence is the mean of the views' maps, turned back. The scores follow from it, and the embedding is that of
    the image as it is.
    """

    def invoke_views(tensor: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        outputs = invoke(tensor)
        total = outputs["evidence"].astype(np.float64)
        for number in range(1, count):
            view = np.ascontiguousarray(turned(tensor, number, (1, 2)))
            total += turned_back(invoke(view)["evidence"], number)
        evidence = total / count
        return outputs | {
            "scores": _softmax(evidence.mean(axis=(0, 1)) / temperature),
            "evidence": evidence.astype(np.float32),
        }

    return invoke_views


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    with np.errstate(invalid="ignore"):  # infinite logits give NaN, which `triage_of` reports
        powers = np.exp(logits - logits.max())
        return np.asarray(powers / powers.sum(), np.float32)
