"""Bring training images to the resolution of the least sharp source, so that blur says less about the source.

Chosen images are scaled down to the smallest native side of the sources in use and up again, as if they came from that
source. When the sources that only pretrain have left, it is the smallest side of the others; with views of teachers,
it stays, because the cached predictions are about images reduced to one side.

The source's own images stay as they are, because scaling them twice would blur them more than the others. The side is
not drawn from a range: images above the smallest side would stay sharper than the source's own, and a network would
tell them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Sharpness", "reduced", "sharpness_of"]


@dataclass(frozen=True, slots=True)
class Sharpness:
    """The share of images to reduce, the side to reduce them to, and which training images are sharper than that."""

    share: float
    side: int
    sharper: NDArray[np.bool_]  # one per training image

    def apply(
        self, images: NDArray[np.uint8], rows: NDArray[np.int64], draws: NDArray[np.floating]
    ) -> NDArray[np.uint8]:
        """Return the `images` of these rows; reduce those whose random number, from 0 to 1, is below the share."""
        chosen = np.flatnonzero(self.sharper[rows] & (draws < self.share))
        result = images.copy() if len(chosen) else images
        for index in chosen:
            result[index] = reduced(images[index], self.side)
        return result

    def key(self) -> list[str | int]:
        """Return what identifies the side and the images, for a cache."""
        return [self.side, hashlib.sha256(self.sharper.tobytes()).hexdigest()]


def sharpness_of(share: float, natives: Sequence[int], counts: Sequence[int]) -> Sharpness | None:
    """Return the step for data and sources with these native sides (0: unknown) and numbers of images, in order.

    Images of an unknown side count as sharper than the smallest known one. None if the step is off.
    """
    known = [native for native in natives if native]
    if not share or not known:
        return None
    side = min(known)
    return Sharpness(share, side, np.repeat([not 0 < native <= side for native in natives], counts))


def reduced(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale a square image down to `side` pixels and up again, with the device's filter."""
    small = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small.resize(image.shape[:2], Image.Resampling.BILINEAR))
