"""Read every image of a data set once, and find near-duplicates by perceptual hash.

The hash is ImageHash's `phash` with 16x16 bits, of the image and of its seven flipped and rotated versions, because
data sets enlarged by flipped copies are common. Hash and threshold were chosen on the 10,015 HAM10000 images of
400x300 pixels: 3,207 pairs of images of the same lesion, which may be the same picture, and 50,141,898 pairs of
different lesions, which should not be.

    hash            at most   pairs of one lesion    of different lesions
    phash 8x8          4 bits                 112                344
    dhash 16x16       30 bits                  99              5,156
    whash 16x16       20 bits                 113              5,757
    phash 16x16       30 bits                 112                  1

That one pair is visibly the same picture twice; flips and rotations add no other pair. The next pair of different
lesions differs in 34 bits, and both merely have a small dark spot in the centre. Nearly all further pairs are like
that, so the threshold is 30.

Of 150 images, all copies stay within 30 bits if they were halved in size and saved at JPEG quality 40, squeezed to
256x256, or white-balanced again. So do 148 of 150 with contrast and brightness changed by a fifth to a third, or
cropped by 1 % per side; cropped by 3 % per side, 14 of 150 do. The hash finds copies; it rarely recognizes two
photographs of one lesion. On the 2,150 images of ISIC 2017 (training and validation, 256x256), which were not used to
choose it, it found 7 pairs; the six within the training split were inspected, and all are the same picture twice.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from spot_bench.data.manifest import Item, Manifest
from spot_edge import __version__
from spot_edge.errors import InputError
from spot_edge.files import make_folder, write_file
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BITS", "THRESHOLD", "ImageRecord", "near_between", "near_pairs", "perceptual_hashes", "read_images"]

BITS = 256
THRESHOLD = 30

_SIDE = 16  # 16 x 16 bits
_PIXELS = 64  # phash shrinks images to this size; shrinking once serves all eight versions
_ORIENTATIONS = (
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


def perceptual_hashes(image: Image.Image) -> NDArray[np.uint8]:
    """Return the hashes of `image` as it is (first), flipped and rotated, as packed bits `uint8[8, 32]`."""
    from imagehash import phash  # imports SciPy

    small = image.convert("L").resize((_PIXELS, _PIXELS), Image.Resampling.LANCZOS)
    versions = [small if change is None else small.transpose(change) for change in _ORIENTATIONS]
    return np.packbits([phash(version, _SIDE).hash.ravel() for version in versions], axis=1)


def near_pairs(
    hashes: NDArray[np.uint8], threshold: int = THRESHOLD, differing: tuple[NDArray[np.int64], ...] = ()
) -> Iterator[tuple[int, int, int]]:
    """Yield the near-duplicates `(i, j, bits that differ)`, i < j, of the hashes `uint8[N, 8, 32]`.

    Skips pairs with equal values in any array of `differing`. All pairs are compared, in blocks so that memory stays
    bounded. The product of two rows of ±1 is the number of bits minus twice the number of bits that differ.
    """
    least = BITS - 2 * threshold
    for top in range(0, len(hashes), _BLOCK):
        oriented = _signs(hashes[top : top + _BLOCK])
        for left in range(top, len(hashes), _BLOCK):
            agreement = _agreement(oriented, hashes[left : left + _BLOCK])
            near = agreement >= least
            if top == left:
                near = np.triu(near, 1)
            if near.any():
                for kind in differing:
                    near &= kind[top : top + _BLOCK, np.newaxis] != kind[left : left + _BLOCK]
            for row, column in np.argwhere(near):
                yield top + int(row), left + int(column), (BITS - int(agreement[row, column])) // 2


def near_between(
    hashes: NDArray[np.uint8], others: NDArray[np.uint8], threshold: int = THRESHOLD
) -> Iterator[tuple[int, int, int]]:
    """Yield the near-duplicates `(i, j, bits that differ)` of the images i of `hashes` and j of `others`."""
    for top in range(0, len(hashes), _BLOCK):
        oriented = _signs(hashes[top : top + _BLOCK])
        for left in range(0, len(others), _BLOCK):
            agreement = _agreement(oriented, others[left : left + _BLOCK])
            for row, column in np.argwhere(agreement >= BITS - 2 * threshold):
                yield top + int(row), left + int(column), (BITS - int(agreement[row, column])) // 2


def _agreement(oriented: NDArray[np.float32], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the products of all rows, in the orientation of each pair that agrees best."""
    plain = _signs(others[:, 0]).T
    agreement = oriented[:, 0] @ plain
    for version in range(1, len(_ORIENTATIONS)):
        np.maximum(agreement, oriented[:, version] @ plain, out=agreement)
    return agreement


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.unpackbits(packed, axis=-1).astype(np.float32) * 2 - 1


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image after it was read."""

    digest: str | None = None  # SHA-256 of the file; None if there is no such file
    hashes: NDArray[np.uint8] | None = field(default=None, repr=False)  # None if it cannot be decoded completely
    problem: str | None = None


def read_images(manifest: Manifest, progress: Callable[[int], None], cache: Path | None = None) -> list[ImageRecord]:
    """Read the images of `manifest` in its order, decoded as on the device. Each thread holds one in memory.

    The records are kept in the folder `cache`, and read from there as long as no file changes its size or time.
    """
    path = cache / f"hashes-{_key(manifest)}.npz" if cache is not None else None
    found = _cached(path, len(manifest.items)) if path is not None else None
    if found is not None:
        progress(len(found))
        return found
    found = _read(manifest, progress)
    if path is not None:
        _keep(path, found)
    return found


def _read(manifest: Manifest, progress: Callable[[int], None]) -> list[ImageRecord]:
    def read(item: Item) -> ImageRecord:
        digest = None
        try:
            data = Source.of(item.image, manifest.name(item)).read()
            digest = hashlib.sha256(data).hexdigest()
            image, _ = decode(data, manifest.name(item))
        except InputError as error:
            return ImageRecord(digest, problem=str(error))
        return ImageRecord(digest, perceptual_hashes(image))

    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for record in pool.map(read, manifest.items):
                found.append(record)
                progress(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # otherwise Ctrl-C waits for the rest of the data set
            raise
    return found


def _key(manifest: Manifest) -> str:
    states: list[Any] = [__version__, PIL.__version__, BITS]  # an upgrade may change decoding
    for item in manifest.items:
        try:
            state = item.image.stat()
        except OSError:
            states.append(manifest.name(item))
        else:
            place = str(item.image.resolve())
            states.append([manifest.name(item), place, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(states).encode(errors="surrogateescape")).hexdigest()[:16]


def _keep(path: Path, records: list[ImageRecord]) -> None:
    nothing = np.zeros((len(_ORIENTATIONS), BITS // 8), np.uint8)
    content = io.BytesIO()
    np.savez(
        content,
        allow_pickle=False,
        digests=np.array([record.digest or "" for record in records]),
        hashes=np.stack([nothing if record.hashes is None else record.hashes for record in records]),
        hashed=np.array([record.hashes is not None for record in records]),
        problems=np.array([record.problem or "" for record in records]),
    )
    make_folder(path.parent)
    write_file(path, content.getvalue())


def _cached(path: Path, number: int) -> list[ImageRecord] | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            digests, problems = arrays["digests"].tolist(), arrays["problems"].tolist()
            hashes, hashed = arrays["hashes"], arrays["hashed"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if len(hashes) != number:
        return None
    return [
        ImageRecord(digest or None, row if known else None, problem or None)
        for digest, row, known, problem in zip(digests, hashes, hashed, problems, strict=True)
    ]
