"""Read files with a size limit, and write them completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from typing import TYPE_CHECKING

from spot_edge.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path  # slow to import, so `spot-edge classify IMAGE` does without

__all__ = ["make_folder", "read_file", "write_file"]


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of the file at `path`.

    Raises OSError if it is missing, larger than `most` bytes, or a device or pipe, which might never end.
    """
    state = os.stat(path)
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if state.st_size > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MB")
    with open(path, "rb") as file:
        return file.read()


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a temporary file in the same folder, so that no reader sees half a file."""
    temporary: Path | None = None
    try:
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:  # also after an interrupt
        if temporary is not None:
            with contextlib.suppress(OSError):  # if nothing could be written, nothing can be removed
                temporary.unlink()


def make_folder(path: Path) -> Path:
    """Create the folder `path` and its parents if missing, and return it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot create this folder: {error.strerror or error}") from error
    return path


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, if the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
