"""A folder of class folders as a list of labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from spot_edge.errors import DataError

__all__ = ["SUFFIXES", "find_images"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "calibrate", "test", "testing"}


def find_images(folder: Path, on_problem: Callable[[str], None] | None = None) -> list[tuple[Path, str]]:
    """Every image below the class folders of `folder` with its class folder's name, sorted; DataError for none.

    Hidden files and folders are skipped. Images outside any class folder, and folders named after the parts of a
    split instead of classes, are refused: both are a data set laid out in another way. Where `on_problem` is given, it
    is told of loose images instead, and the others are still found.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None
    loose = [entry for entry in entries if entry.is_file() and _is_image(entry.name)]
    found = [(image, entry.name) for entry in entries if entry.is_dir() for image in _images_below(entry)]
    if loose:
        problem = f"{folder}: {len(loose)} images lie outside any class folder, first {loose[0].name}"
        if on_problem is None:
            raise DataError(problem)
        on_problem(problem)
    if not found:
        raise DataError(f"{folder}: no images below it: put each class's images in a folder named after the class")
    classes = {label for _, label in found}
    if {label.lower() for label in classes} <= _SPLIT_NAMES:
        raise DataError(
            f"{folder}: its folders are named like parts, not classes ({', '.join(sorted(classes))}): "
            "name one of them, or list the images in a CSV file with a split column"
        )
    return found


def _images_below(folder: Path) -> list[Path]:
    images = []
    for place, folders, names in os.walk(folder, onerror=_refuse_closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [Path(place, name) for name in names if _is_image(name)]
    return sorted(images)


def _refuse_closed(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be searched: {error.strerror}")


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)
