"""Find the images that a command line names: files, folders, patterns and standard input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from spot_edge.errors import InputError
from spot_edge.image.source import Source

__all__ = ["HEATMAP", "MOST_FRAMES", "SUFFIXES", "Found", "absolute", "find_images", "unique_name"]

HEATMAP = ".heatmap.png"  # suffix of our heat maps, which must not be classified
MOST_FRAMES = 16  # of a burst
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")


class Found(NamedTuple):
    """An image that was found, or the reason why there is none."""

    path: str  # "-" for standard input
    relative: str  # path below the named folder; the results are named after it
    problem: InputError | None = None  # why there is no image
    frame: Source | None = None  # an image that a camera has taken already


def find_images(names: Sequence[str]) -> list[Found]:
    """Return the images that `names` stand for, in order. A name without an image yields an entry with its problem.

    Folders are searched recursively for files with an image suffix, without hidden files and heat maps. A file that is
    named directly counts whatever its suffix.
    """
    found: list[Found] = []
    for place, name in enumerate(names):
        try:
            if name == "-" and "-" in names[:place]:
                raise InputError("-: named twice, but standard input can be read only once")
            found.extend(_expand(name))
        except InputError as error:
            found.append(Found(name, name, error))
    return found


def absolute(path: str) -> str:
    """The absolute form of `path`, or `path` itself if the working folder has been deleted."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        return os.path.normpath(path)


def unique_name(relative: str, taken: set[str]) -> str:
    """Return a file name without folder and suffix for the results of `relative`, and add it to `taken`.

    It differs from all in `taken`, ignoring case, as file systems of memory cards do.
    """
    from pathlib import Path  # slow to import

    parts = [part for part in Path(relative).with_suffix("").parts if part not in ("/", "..", ".")]
    stem = "__".join(parts).replace("\0", "") if relative != "-" else "stdin"
    stem = stem.encode(errors="ignore")[:200].decode(errors="ignore") or "image"
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.casefold())
    return name


def _expand(name: str) -> Iterable[Found]:
    if name == "-":
        return [Found("-", "-")]
    if "\0" in name:
        raise InputError(f"{name!r}: not a file name")
    if os.path.isdir(name):
        inside = list(_walk(name))
        if not inside:
            raise InputError(f"{name}: no images in this folder ({' '.join(SUFFIXES)})")
        return inside
    if os.path.lexists(name) or not any(character in name for character in "*?["):
        return [Found(name, os.path.basename(name))]  # a missing file fails when it is read
    import glob  # slow to import, so its has_magic() is written out above

    try:
        matches = sorted(glob.glob(name, recursive=True))
    except RecursionError:
        raise InputError(f"{name}: matches too many levels of folders: name the folder instead") from None
    files = [match for match in matches if not os.path.isdir(match)]
    if not files:
        raise InputError(f"{name}: matches no file")
    return [Found(match, os.path.basename(match)) for match in files]


def _walk(top: str) -> Iterator[Found]:
    """The images in `top`. Unlike `os.walk` of Python 3.11, it finds them at any depth."""
    closed: list[tuple[str, str | None]] = []
    left = [(top, "")]
    while left:
        where, below = left.pop()
        folders, files = [], []
        try:
            with os.scandir(where) as entries:
                for entry in entries:
                    if not _is_folder(entry):
                        files.append(entry.name)
                    elif not entry.is_symlink():  # links may form a circle
                        folders.append(entry.name)
        except OSError as error:
            closed.append((where, error.strerror))
            continue
        for file in sorted(files):
            if not file.startswith(".") and file.lower().endswith(SUFFIXES) and not file.endswith(HEATMAP):
                yield Found(os.path.join(where, file), os.path.join(below, file))
        inside = sorted((name for name in folders if not name.startswith(".")), reverse=True)
        left += [(os.path.join(where, name), os.path.join(below, name)) for name in inside]
    for folder, reason in closed:
        yield Found(folder, folder, InputError(f"{folder}: cannot be searched: {reason}"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to a folder that may not be looked at
        return False
