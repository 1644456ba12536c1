"""Every picture of a data set read once: is it whole, which bytes is it, what does it look like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spot_bench.manifest import Item, Manifest
from spot_edge.errors import InputError
from spot_edge.image import decode
from spot_edge.source import Source
from spot_train.data.looks import looks

__all__ = ["Picture", "read_pictures"]


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
