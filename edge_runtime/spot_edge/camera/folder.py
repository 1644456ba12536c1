"""A folder or file of pictures as a camera, for demonstrations and tests."""

from __future__ import annotations

import os
from pathlib import Path

from spot_edge.camera.frames import encode, whole
from spot_edge.errors import CameraError, InputError
from spot_edge.files import read_file
from spot_edge.image.inputs import find_images
from spot_edge.image.source import LARGEST

__all__ = ["Pictures"]


class Pictures:
    """The pictures below `name`, by name, each once. As with a camera, those that are not whole are left out."""

    live = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._left = [found.path for found in find_images([name]) if not found.problem]
        self._any = False

    def read(self, deadline: float) -> bytes:
        """The next picture as a JPEG: JPEGs as they are, others decoded and encoded."""
        while self._left:
            data = _read(self._left.pop(0))
            if data:
                self._any = True
                return data
        if not self._any:
            raise CameraError(f"{self.name}: holds no whole picture")
        raise StopIteration

    def skip(self, deadline: float) -> None:
        """Nothing: each picture waits until it is asked for."""

    def lock(self, locked: bool) -> None:
        """Nothing: pictures do not change."""

    def close(self) -> None:
        """Nothing is open."""


def _read(path: str) -> bytes | None:
    from spot_edge.image.tensor import decode

    try:
        data = read_file(Path(path), LARGEST)
        return whole(data) if data.startswith(b"\xff\xd8") else encode(decode(data, os.path.basename(path))[0])
    except (OSError, ValueError, InputError):
        return None
