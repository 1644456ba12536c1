"""A folder or file of images as a camera, for demonstrations and tests."""

from __future__ import annotations

import os

from spot_edge.camera.frames import complete_jpeg, encode
from spot_edge.errors import CameraError, InputError
from spot_edge.image.inputs import find_images
from spot_edge.image.source import Source

__all__ = ["ImageFolder"]


class ImageFolder:
    """The images below `name`, by name, each once. Incomplete images are skipped, as with a camera."""

    live = False

    def __init__(self, name: str) -> None:
        self.name = name
        self._left = [found.path for found in find_images([name]) if not found.problem]
        self._any = False

    def read(self, deadline: float) -> bytes:
        """Return the next image: a JPEG as it is, any other format encoded as JPEG."""
        while self._left:
            data = _read(self._left.pop(0))
            if data:
                self._any = True
                return data
        if not self._any:
            raise CameraError(f"{self.name}: contains no complete image")
        raise StopIteration

    def skip(self, deadline: float) -> None:
        """Do nothing: each image waits until it is read."""

    def lock(self, locked: bool) -> None:
        """Do nothing: files have no controls."""

    def close(self) -> None:
        """Do nothing: no file is open."""


def _read(path: str) -> bytes | None:
    from spot_edge.image.tensor import decode

    name = os.path.basename(path)
    try:
        data = Source.of(path, name).read()
        return complete_jpeg(data) if data.startswith(b"\xff\xd8") else encode(decode(data, name)[0])
    except (OSError, ValueError):  # OSError: too wide or too high for a JPEG
        return None
    except (InputError, MemoryError) as error:
        failure = error if isinstance(error, InputError) else InputError.out_of_memory(name)
        if failure.transient:  # not an incomplete image
            raise CameraError(str(failure), transient=True) from error
        return None
