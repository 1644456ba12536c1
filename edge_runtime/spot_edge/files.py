"""Read files with a size limit, and write them completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from spot_edge.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path  # slow to import, so `spot-edge classify IMAGE` does without

__all__ = ["NO_WAITING", "make_folder", "read_file", "write_file", "write_new_files"]

NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # to open a named pipe must not wait for its other end
_READING = os.O_RDONLY | NO_WAITING | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20  # bytes
# What file systems of memory cards, networks and phones answer instead of making a hard link.
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EINVAL)


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """Return the content of the file at `path`.

    Raises OSError if it is missing, larger than `most` bytes, or a device or pipe, which might never end.
    """
    _check_kind(os.stat(path), most)  # before opening: that alone makes some devices act
    handle = os.open(path, _READING)
    try:
        state = os.fstat(handle)  # another file may have this name by now
        _check_kind(state, most)
        parts, left, wanted = [], most, state.st_size + 1
        while part := os.read(handle, wanted):
            parts.append(part)
            left, wanted = left - len(part), _CHUNK
            if left < 0:  # it grows, or is one of the endless files of /proc
                raise _too_large(most)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(handle)


def _check_kind(state: os.stat_result, most: int) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder")
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    if state.st_size > most:
        raise _too_large(most)


def _too_large(most: int) -> OSError:
    return OSError(errno.EFBIG, f"larger than {most >> 20} MB")


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a temporary file in the same folder, so that no reader sees half a file.

    Replaces a file, but no device or pipe.
    """
    with _reported(path):
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: cannot be written: not a regular file")
        with _temporary_file(path, content) as temporary:
            os.replace(temporary, path)
            _sync_folder(path.parent)


def write_new_files(files: Sequence[tuple[Path, bytes]]) -> bool:
    """Write files that belong together, in this order, or none of them if a file has one of their paths.

    No process ever replaces a file that another one has written. Returns whether the files were written.
    """
    made: list[Path] = []
    with contextlib.ExitStack() as stack:
        temporaries = []
        for path, content in files:
            stack.enter_context(_reported(path))
            temporaries.append(stack.enter_context(_temporary_file(path, content)))
        try:
            for (path, _), temporary in zip(files, temporaries, strict=True):
                with _reported(path):
                    _publish(temporary, path)
                made.append(path)
        except BaseException as error:  # also an interrupt
            for each in made:
                with contextlib.suppress(OSError):
                    each.unlink()
            if isinstance(error.__cause__, FileExistsError):
                return False
            raise
    for folder in {path.parent for path, _ in files}:
        _sync_folder(folder)
    return True


def _publish(temporary: Path, path: Path) -> None:
    """Give the complete file `temporary` the name `path`. Raises FileExistsError if it is in use."""
    if os.name != "posix":
        os.rename(temporary, path)  # on Windows, this replaces nothing
        return
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))  # the name is ours now
        try:
            os.replace(temporary, path)
        except OSError:
            path.unlink()
            raise


@contextlib.contextmanager
def _temporary_file(path: Path, content: bytes) -> Iterator[Path]:
    """A hidden file with this content next to `path`, removed afterwards unless it was renamed."""
    # Not a thread's number: after a restart, or in another container, it may be that of a file left by a killed one.
    number = int.from_bytes(os.urandom(6))
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{number}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:  # also after an interrupt
        with contextlib.suppress(OSError):  # if nothing could be written, nothing can be removed
            temporary.unlink()


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def make_folder(path: Path) -> Path:
    """Create the folder `path` and its parents if missing, and return it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RecursionError) as error:  # RecursionError: a thousand missing parents
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot create this folder: {reason}") from error
    return path


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, if the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
