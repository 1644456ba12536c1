"""Pictures out of archives: all that are wanted, in one folder, or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

from spot_bench.folders import SUFFIXES
from spot_edge.errors import DataError, OutputError
from spot_edge.files import make_folder
from spot_train.data.archive import Archive, Member, base_name, open_archive

__all__ = ["unpack"]


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
