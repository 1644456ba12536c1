"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from pathlib import Path

from spot_edge.errors import OutputError

__all__ = ["make_folder", "read_file", "write_file"]


def read_file(path: Path, most: int) -> bytes:
    """The content of the file at `path`. OSError where there is none, where it is a device or a pipe, which might never
    end, or where it holds more than `most` bytes."""
    state = os.stat(path)
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    if state.st_size > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MB")
    return path.read_bytes()


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`: a temporary file in the same folder, fsync, rename. Never half a file."""
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
    finally:  # an interrupt, too, leaves nothing behind
        if temporary is not None:
            with contextlib.suppress(OSError):  # where nothing could be written, nothing can be removed
                temporary.unlink()


def make_folder(path: Path) -> Path:
    """`path` as a folder, made with its parents where it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made a folder: {error.strerror or error}") from error
    return path


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a loss of power, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
