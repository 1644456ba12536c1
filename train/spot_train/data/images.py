"""Perceptual hashes of pictures, and the pairs that look nearly the same.

The hash is ImageHash's `phash` of 16x16 bits, of the picture and of its seven mirrored and turned versions: data sets
that were enlarged by flipped copies are common. Hash and threshold were chosen on the 10,015 HAM10000 images, 400x300
each: 3,207 pairs of images of one lesion, which may show the same picture, and 50,141,898 pairs of other lesions,
which should not.

    hash            at most   pairs of one lesion    of other lesions
    phash 8x8          4 bits                 112                344
    dhash 16x16       30 bits                  99              5,156
    whash 16x16       20 bits                 113              5,757
    phash 16x16       30 bits                 112                  1

That one pair is the same picture twice, as the eye sees at once; turning and mirroring adds no other. The next pair of
other lesions lies at 34 bits, and looks alike only in that a small dark spot is in the middle; from there on nearly
all are of that kind. So the threshold is 30.
Copies of 150 of the images, made smaller by half and saved at JPEG quality 40, squeezed to 256x256, or white-balanced
anew, all stay within 30 bits, and 148 of 150 with contrast and brightness changed by a fifth to a third or cropped by
1 % a side. Cropped by 3 % a side, 14 of 150 do. It finds copies: of two photographs of one lesion it rarely knows.
On the 2,150 images of ISIC 2017 (training and validation, 256x256), which had no part in the choice, it then found 7
pairs; the six within the training part were looked at, and all are the same picture twice.


Every picture of a data set read once: is it whole, which bytes is it, what does it look like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spot_bench.data.manifest import Item, Manifest
from spot_edge.errors import InputError
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BITS", "THRESHOLD", "Picture", "looks", "near_pairs", "read_pictures"]

BITS = 256
THRESHOLD = 30

_SIDE = 16  # 16 x 16 bits
_PIXELS = 64  # phash itself shrinks to four times its side; doing so once serves all eight versions
_TURNS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.TRANSVERSE,
)
_BLOCK = 1024


def looks(picture: Image.Image) -> NDArray[np.uint8]:
    """The hashes of `picture` as it is (first) and turned and mirrored, as `uint8[8, 32]` of packed bits."""
    from imagehash import phash  # brings SciPy along

    small = picture.convert("L").resize((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    versions = [small if turn is None else small.transpose(turn) for turn in _TURNS]
    return np.packbits([phash(version, _SIDE).hash.ravel() for version in versions], axis=1)


def near_pairs(
    hashes: NDArray[np.uint8], threshold: int = THRESHOLD, unlike: tuple[NDArray[np.int64], ...] = ()
) -> Iterator[tuple[int, int, int]]:
    """The pairs `(i, j, bits that differ)`, i < j, of the pictures in `uint8[N, 8, 32]` that look nearly the same.

    Only pairs that differ in every array of `unlike` count. All pairs are compared, in blocks, so that memory does not
    grow with their number: the product of two rows of ±1 is the number of bits less twice those that differ.
    """
    least = BITS - 2 * threshold
    for top in range(0, len(hashes), _BLOCK):
        turned = _signs(hashes[top : top + _BLOCK])
        for left in range(top, len(hashes), _BLOCK):
            plain = _signs(hashes[left : left + _BLOCK, 0]).T
            agreement = turned[:, 0] @ plain
            for turn in range(1, len(_TURNS)):
                np.maximum(agreement, turned[:, turn] @ plain, out=agreement)
            near = agreement >= least
            if top == left:
                near = np.triu(near, 1)
            if near.any():
                for kind in unlike:
                    near &= kind[top : top + _BLOCK, np.newaxis] != kind[left : left + _BLOCK]
            for row, column in np.argwhere(near):
                yield top + int(row), left + int(column), (BITS - int(agreement[row, column])) // 2


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.unpackbits(packed, axis=-1).astype(np.float32) * 2 - 1


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of one picture after it was read."""

    digest: str | None = None  # SHA-256 of the file; None where there is no such file
    looks: NDArray[np.uint8] | None = field(default=None, repr=False)  # None where it is no whole picture
    problem: str | None = None


def read_pictures(manifest: Manifest, progress: Callable[[int], None]) -> list[Picture]:
    """The pictures of `manifest` in its order, decoded as the device decodes them; one a thread is in memory."""

    def read(item: Item) -> Picture:
        digest = None
        try:
            data = Source.of(item.image, manifest.name(item)).read()
            digest = hashlib.sha256(data).hexdigest()
            picture, _ = decode(data, manifest.name(item))
        except InputError as error:
            return Picture(digest, problem=str(error))
        return Picture(digest, looks(picture))

    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for picture in pool.map(read, manifest.items):
                found.append(picture)
                progress(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # or Ctrl-C would wait for the rest of the data set
            raise
    return found
