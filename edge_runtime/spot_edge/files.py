"""Writing files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from spot_edge.errors import OutputError

__all__ = ["make_folder", "write_whole"]


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` to `path`: a temporary file in the same folder, fsync, rename. Never half a file."""
    import tempfile  # here, so that a command that writes no file does not wait for it

    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:  # an interrupt, too, leaves nothing behind
        if temporary is not None:
            os.unlink(temporary)


def make_folder(path: Path) -> Path:
    """`path` as a folder, made with its parents where it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made a folder: {error.strerror or error}") from error
    return path


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
