"""Image to tensor and scores to ranking, as users of a bare runtime would write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from experiments.peers.talk import Peer, Task

__all__ = ["bare_peer", "planes"]


def bare_peer(
    task: Task, version: str, prepare: Callable[[NDArray[np.uint8]], Any], run: Callable[[Any], Iterable[float]]
) -> Peer:
    """A peer whose runtime takes tensors only: it decodes files with Pillow and ranks the scores itself."""

    def classify(path: str) -> list[tuple[str, float]]:
        return _ranked(task.labels, run(prepare(_read_pixels(path, task.side))))

    return Peer(version, prepare, run, classify)


def _read_pixels(path: str, side: int) -> NDArray[np.uint8]:
    """The image at `path` as uint8[1,S,S,3]."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small)[np.newaxis]


def planes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8[1,S,S,3] as float32[1,3,S,S] from -1 to 1, the input of the ONNX files and PyTorch."""
    scaled = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def _ranked(labels: Sequence[str], scores: Iterable[float]) -> list[tuple[str, float]]:
    """Labels with their scores, the best first."""
    return sorted(zip(labels, map(float, scores), strict=True), key=lambda pair: -pair[1])
