"""Read ZIP files that cannot be trusted, and unpack images from them.

Refuses odd names, links, encryption, and more content than declared or allowed. Unpacking is all or nothing."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from spot_edge.errors import DataError, OutputError
from spot_edge.files import make_folder
from spot_edge.image.inputs import SUFFIXES

__all__ = ["Archive", "Member", "base_name", "open_archive", "unpack"]

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*")
_CHUNK = 1 << 20

Member = zipfile.ZipInfo


class Archive:
    """An open ZIP file whose member list passed the checks."""

    def __init__(self, opened: zipfile.ZipFile, name: str, max_bytes: int) -> None:
        self._opened, self.name = opened, name
        self.members = [member for member in opened.infolist() if not member.is_dir()]
        for member in self.members:
            self._check_member(member)
        self.declared = sum(member.file_size for member in self.members)
        if self.declared > max_bytes:
            raise DataError(f"{name}: unpacks to {self.declared} bytes; the limit is {max_bytes}")

    def members_ending_in(self, *suffixes: str) -> list[Member]:
        """Return the members with one of these suffixes, without macOS metadata."""
        return [m for m in self.members if m.filename.lower().endswith(suffixes) and "__MACOSX" not in m.filename]

    def read(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member in pieces; DataError if it is damaged or not as long as declared."""
        done = 0
        try:
            with self._opened.open(member) as file:
                while piece := file.read(_CHUNK):
                    done += len(piece)
                    if done > member.file_size:
                        raise DataError(f"{self.name}: {member.filename} is longer than declared")
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise DataError(f"{self.name}: {member.filename} is damaged: {error}") from None
        if done != member.file_size:
            raise DataError(f"{self.name}: {member.filename} is shorter than declared")

    def check(self) -> None:
        """Read every member and check its checksum; DataError if one is damaged."""
        for member in self.members:
            for _ in self.read(member):
                pass

    def _check_member(self, member: Member) -> None:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename or ":" in member.filename:
            raise DataError(f"{self.name}: {member.filename!r} would be written outside its folder")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{self.name}: {member.filename!r} is a link, which is not allowed")
        if member.flag_bits & 0x1:
            raise DataError(f"{self.name}: {member.filename!r} is encrypted, which is not supported")


def base_name(member: Member) -> str:
    """Return the member's name without folders; DataError if it is not a plain file name."""
    name = PurePosixPath(member.filename).name
    if not _PLAIN.fullmatch(name):
        raise DataError(f"{member.filename!r}: not a plain file name")
    return name


@contextmanager
def open_archive(path: Path, name: str, max_bytes: int) -> Iterator[Archive]:
    """Open the ZIP file at `path`, called `name` in messages, which may unpack to at most `max_bytes`."""
    try:
        opened = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{name}: not a complete ZIP file: {error}") from None
    with opened:
        yield Archive(opened, name, max_bytes)


def unpack(
    archives: Sequence[Path], folder: Path, wanted: Collection[str], max_bytes: int, progress: Callable[[int], None]
) -> None:
    """Unpack the images whose names without suffix are in `wanted` into the new folder `folder`.

    The archives' text files, which name the copyright holders, go beside them. DataError if an image is missing or
    occurs twice.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    try:
        seen: set[str] = set()
        for path in archives:
            with open_archive(path, path.name, max_bytes) as archive:
                _check_space(partial, archive.declared)
                _unpack_one(archive, partial, wanted, seen, progress)
        missing = sorted(set(wanted) - seen)
        if missing:
            raise DataError(f"{len(missing)} of {len(wanted)} images are not in any archive, the first is {missing[0]}")
        os.replace(partial, folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack_one(
    archive: Archive, folder: Path, wanted: Collection[str], seen: set[str], progress: Callable[[int], None]
) -> None:
    for member in archive.members_ending_in(*SUFFIXES):
        stem = PurePosixPath(member.filename).stem
        if stem in wanted:
            if stem in seen:
                raise DataError(f"{archive.name}: two images are called {stem}")
            seen.add(stem)
            _write(archive, member, folder / base_name(member))
            progress(1)
    for member in archive.members_ending_in(".txt"):
        _write(archive, member, folder / f"{PurePosixPath(archive.name).stem}-{base_name(member)}")


def _write(archive: Archive, member: Member, path: Path) -> None:
    with open(path, "xb") as file:
        for piece in archive.read(member):
            file.write(piece)


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(f"{folder.parent}: {needed} bytes are needed, but only {free} are free")
