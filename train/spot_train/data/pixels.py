"""Cache decoded images on disk: one memory-mapped uint8 array per split, prepared exactly as on the device."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from spot_bench.data.manifest import Manifest
from spot_edge import __version__
from spot_edge.errors import DataError, InputError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec

__all__ = ["PixelStack", "cached_pixels", "pixel_array", "pixels_key"]


class PixelStack:
    """Several arrays of images, one after the other. Indexing reads only the rows that are asked for."""

    def __init__(self, arrays: Sequence[NDArray[np.uint8]]) -> None:
        self._arrays = tuple(arrays)
        self._ends = np.cumsum([len(array) for array in arrays])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images at these rows."""
        wanted = np.arange(len(self))[rows]
        result = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        first = 0
        for array, end in zip(self._arrays, self._ends.tolist(), strict=True):
            chosen = (first <= wanted) & (wanted < end)
            result[chosen] = array[wanted[chosen] - first]
            first = end
        return result


def cached_pixels(
    manifest: Manifest, spec: ImageSpec, folder: Path, progress: Callable[[int], None] | None = None
) -> NDArray[np.uint8]:
    """Return the images of `manifest` as a read-only `uint8[N,size,size,3]`, decoded once into `folder` and mapped.

    The cache key is made from `spec` and the files' names, sizes and times. DataError names an image that cannot be
    decoded.
    """
    path = folder / f"pixels-{_spec_key(spec)}-{pixels_key(manifest)}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".partial")
        try:
            array = open_memmap(temporary, "w+", np.uint8, (len(manifest.items), spec.size, spec.size, 3))
            _fill(array, manifest, spec, progress)
            array.flush()
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"{folder}: cannot cache decoded images there: {error.strerror or error}") from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        os.replace(temporary, path)
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def pixel_array(manifest: Manifest, spec: ImageSpec) -> NDArray[np.uint8]:
    """Decode the images of a small `manifest` into memory."""
    array = np.empty((len(manifest.items), spec.size, spec.size, 3), np.uint8)
    _fill(array, manifest, spec, None)
    return array


def _fill(
    array: NDArray[np.uint8], manifest: Manifest, spec: ImageSpec, progress: Callable[[int], None] | None
) -> None:
    def decode(index: int) -> None:
        item = manifest.items[index]
        try:
            array[index] = prepare(Source.of(item.image), spec).tensor[0]
        except InputError as error:
            raise DataError(f"{error}: repair it or remove it from the data") from error

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, range(len(manifest.items))):
            if progress is not None:
                progress(1)


def _spec_key(spec: ImageSpec) -> str:
    """Name `spec` in a cache key: by its size alone for the default geometry and filter, as older caches do."""
    return str(spec.size) if spec == ImageSpec(spec.size) else "-".join(map(str, spec))


def pixels_key(manifest: Manifest) -> str:
    """Return a hash of the names, sizes and times of the image files."""
    states: list[Any] = [__version__, PIL.__version__]  # an upgrade of either may change decoding
    for item in manifest.items:
        state = item.image.stat()
        states.append([str(item.image.resolve()), state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]
