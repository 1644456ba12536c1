"""Where an image comes from: a file, bytes, an array or a camera frame."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from spot_edge.errors import InputError
from spot_edge.files import read_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

__all__ = ["LARGEST", "Source", "SourceLike", "is_opened"]

# Reasons why a file cannot be read that are not the file's: no memory, too many open files, a disk that was unplugged.
_PASSING = (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO, errno.EAGAIN)
LARGEST = 512 * 1024 * 1024  # bytes of an encoded image

Kind: TypeAlias = Literal["path", "bytes", "array", "frame"]


@dataclass(frozen=True, slots=True)
class Source:
    """One image to classify, and where it came from.

    Use `Source.of` for a path, encoded bytes, an RGB array or a Pillow image, and `Source.frame` for a camera frame.
    """

    kind: Kind
    name: str
    content: str | bytes | NDArray[np.uint8] | Image.Image = field(repr=False)
    camera: str | None = None
    captured_at: float | None = None

    @classmethod
    def of(cls, thing: SourceLike, name: str | None = None) -> Source:
        """Make a source from a path (`str` or path-like), encoded image `bytes`, or a `uint8[H,W,3]` RGB array.

        An opened Pillow image counts as its file would: its EXIF orientation, color profile and transparency matter.
        """
        if isinstance(thing, Source):
            return thing
        if isinstance(thing, (bytes, bytearray, memoryview)):
            return cls("bytes", name or "bytes", bytes(thing))
        if isinstance(thing, (str, os.PathLike)):
            path = os.fsdecode(thing)
            return cls("path", name or path, path)
        if is_opened(thing) or hasattr(thing, "__array_interface__"):
            return cls("array", name or "array", thing)
        raise InputError(f"{type(thing).__name__}: not a path, bytes, a uint8 RGB array or a Pillow image")

    @classmethod
    def frame(cls, jpeg: bytes, camera: str, captured_at: float) -> Source:
        """Make a source from an encoded frame of `camera`, captured at `captured_at` (seconds since 1970)."""
        return cls("frame", f"{camera} at {captured_at:.3f}", jpeg, camera, captured_at)

    def read(self) -> bytes:
        """Return the encoded bytes of a path, bytes or frame source."""
        if isinstance(self.content, bytes):
            return self.content
        if not isinstance(self.content, str):
            kind = "an opened image" if is_opened(self.content) else "an array"
            raise InputError(f"{self.name}: {kind} has no encoded bytes")
        try:
            return read_file(self.content, LARGEST)
        except FileNotFoundError:
            raise InputError(f"{self.name}: no such file") from None
        except IsADirectoryError:
            raise InputError(f"{self.name}: a folder, not an image") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
            reason, number = getattr(error, "strerror", None) or error, getattr(error, "errno", None)
            raise InputError(f"{self.name}: cannot be read: {reason}", transient=number in _PASSING) from error

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: kind and name, and for a frame its camera and time."""
        record: dict[str, Any] = {"kind": self.kind, "name": self.name}
        if self.kind == "frame":
            record |= {"camera": self.camera, "captured_at": self.captured_at}
        return record


def is_opened(thing: object) -> bool:
    """Whether `thing` is a Pillow image. Imports nothing: before Pillow is imported there are none."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(thing, pillow.Image)


SourceLike: TypeAlias = "Source | str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image.Image"
