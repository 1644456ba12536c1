"""ZIP files from elsewhere, read with distrust: odd names, links, and more content than declared or allowed.

Pictures out of archives: all that are wanted, in one folder, or none."""

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

from spot_bench.data.manifest import SUFFIXES
from spot_edge.errors import DataError, OutputError
from spot_edge.files import make_folder

__all__ = ["Archive", "Member", "base_name", "open_archive", "unpack"]

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*")
_CHUNK = 1 << 20

Member = zipfile.ZipInfo


class Archive:
    """An open ZIP file whose list of members was found to be harmless."""

    def __init__(self, opened: zipfile.ZipFile, name: str, most: int) -> None:
        self._opened, self.name = opened, name
        self.members = [member for member in opened.infolist() if not member.is_dir()]
        for member in self.members:
            self._refuse_odd(member)
        self.declared = sum(member.file_size for member in self.members)
        if self.declared > most:
            raise DataError(f"{name}: unpacks to {self.declared} bytes, more than the {most} that it may have")

    def named(self, *suffixes: str) -> list[Member]:
        """The members whose names end so, without what an operating system hid among them."""
        return [m for m in self.members if m.filename.lower().endswith(suffixes) and "__MACOSX" not in m.filename]

    def read(self, member: Member) -> Iterator[bytes]:
        """The content of a member in pieces; DataError where it is damaged, or longer than declared."""
        done = 0
        try:
            with self._opened.open(member) as file:
                while piece := file.read(_CHUNK):
                    done += len(piece)
                    if done > member.file_size:
                        raise DataError(f"{self.name}: {member.filename} is longer than it says")
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise DataError(f"{self.name}: {member.filename} is damaged: {error}") from None
        if done != member.file_size:
            raise DataError(f"{self.name}: {member.filename} is shorter than it says")

    def check(self) -> None:
        """DataError unless every member can be read and has its checksum."""
        for member in self.members:
            for _ in self.read(member):
                pass

    def _refuse_odd(self, member: Member) -> None:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename or ":" in member.filename:
            raise DataError(f"{self.name}: {member.filename!r} would lie outside its folder: refused")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{self.name}: {member.filename!r} is a link: refused")
        if member.flag_bits & 0x1:
            raise DataError(f"{self.name}: {member.filename!r} is encrypted")


def base_name(member: Member) -> str:
    """The member's name without its folders; DataError for one that could mean something to a file system."""
    name = PurePosixPath(member.filename).name
    if not _PLAIN.fullmatch(name):
        raise DataError(f"{member.filename!r}: not a plain file name")
    return name


@contextmanager
def open_archive(path: Path, name: str, most: int) -> Iterator[Archive]:
    """The ZIP file at `path`, called `name` in messages, that may unpack to `most` bytes."""
    try:
        opened = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{name}: not a whole ZIP file: {error}") from None
    with opened:
        yield Archive(opened, name, most)


def unpack(
    archives: Sequence[Path], folder: Path, wanted: Collection[str], most: int, progress: Callable[[int], None]
) -> None:
    """The pictures of `archives` whose names without suffix are `wanted`, as the new folder `folder`; and beside them
    the texts of the archives, which say whose pictures they are. DataError where one is missing or there twice."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make_folder(partial)
    try:
        seen: set[str] = set()
        for path in archives:
            with open_archive(path, path.name, most) as archive:
                _refuse_full(partial, archive.declared)
                _unpack_one(archive, partial, wanted, seen, progress)
        missing = sorted(set(wanted) - seen)
        if missing:
            raise DataError(f"{len(missing)} of {len(wanted)} images are in no archive, first {missing[0]}")
        os.replace(partial, folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack_one(
    archive: Archive, folder: Path, wanted: Collection[str], seen: set[str], progress: Callable[[int], None]
) -> None:
    for member in archive.named(*SUFFIXES):
        stem = PurePosixPath(member.filename).stem
        if stem in wanted:
            if stem in seen:
                raise DataError(f"{archive.name}: a second picture called {stem}")
            seen.add(stem)
            _write(archive, member, folder / base_name(member))
            progress(1)
    for member in archive.named(".txt"):
        _write(archive, member, folder / f"{PurePosixPath(archive.name).stem}-{base_name(member)}")


def _write(archive: Archive, member: Member, path: Path) -> None:
    with open(path, "xb") as file:
        for piece in archive.read(member):
            file.write(piece)


def _refuse_full(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(f"{folder.parent}: {needed} bytes are needed and {free} are free")
