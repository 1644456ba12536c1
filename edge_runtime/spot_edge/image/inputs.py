"""Finding the pictures that a command line names: files, folders, globs and standard input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spot_edge.errors import InputError
from spot_edge.image.source import Source

__all__ = ["HEATMAP", "MOST_FRAMES", "SUFFIXES", "Found", "find_images", "unique_name"]

HEATMAP = ".heatmap.png"  # our own, which must not be judged as pictures when they lie in the folder
MOST_FRAMES = 16  # of a burst, which takes as long as so many pictures
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")


class Found(NamedTuple):
    """A picture, and its path below the folder that was named (which names its results)."""

    path: str  # "-" for standard input
    relative: str
    problem: InputError | None = None  # why it stands for nothing
    frame: Source | None = None  # what a camera has taken already


def find_images(names: Sequence[str]) -> list[Found]:
    """What `names` stand for, in their order; a name that stands for nothing has its problem told in its place.

    A folder is searched recursively for files with a picture's suffix, hidden ones and heat maps left out; a file
    that is named itself is taken whatever its suffix.
    """
    found: list[Found] = []
    for place, name in enumerate(names):
        try:
            if name == "-" and "-" in names[:place]:
                raise InputError("-: named twice, and standard input can be read once")
            found.extend(_expand(name))
        except InputError as error:
            found.append(Found(name, name, error))
    return found


def unique_name(relative: str, taken: set[str]) -> str:
    """A file name without folders or suffix for the results of `relative`, different from all in `taken`.

    Names that differ in case alone count as the same: on a memory card they are.
    """
    parts = [part for part in Path(relative).with_suffix("").parts if part not in ("/", "..", ".")]
    stem = "__".join(parts).replace("\0", "") if relative != "-" else "stdin"
    stem = stem.encode(errors="ignore")[:200].decode(errors="ignore") or "picture"
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
            raise InputError(f"{name}: no pictures in this folder ({' '.join(SUFFIXES)})")
        return inside
    if os.path.lexists(name) or not any(character in name for character in "*?["):
        return [Found(name, os.path.basename(name))]  # a missing file is refused when it is read
    import glob  # slow to import, which is why its has_magic() is spelled out above

    matches = sorted(glob.glob(name, recursive=True))
    files = [match for match in matches if not os.path.isdir(match)]
    if not files:
        raise InputError(f"{name}: matches no file")
    return [Found(match, os.path.basename(match)) for match in files]


def _walk(top: str) -> Iterator[Found]:
    closed: list[OSError] = []
    for where, folders, files in os.walk(top, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(where, top)  # once a folder: for each of 100,000 files it takes a second
        for file in sorted(files):
            if not file.startswith(".") and file.lower().endswith(SUFFIXES) and not file.endswith(HEATMAP):
                yield Found(os.path.join(where, file), file if below == "." else os.path.join(below, file))
    for error in closed:
        folder = str(error.filename)
        yield Found(folder, folder, InputError(f"{folder}: cannot be searched: {error.strerror}"))
