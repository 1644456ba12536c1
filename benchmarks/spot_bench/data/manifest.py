"""Read and write manifests: the images of a data set with their labels, groups and splits.

A data set is a CSV file (`image,label`, optionally `group,split,mask,age,sex,site` and other columns) or a folder of
class folders. `group` is the lesion or the patient: all its images stay in one split.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from spot_edge.errors import DataError
from spot_edge.files import write_file
from spot_edge.image.inputs import SUFFIXES

__all__ = ["SPLITS", "Item", "Manifest", "image_id", "read_manifest", "write_manifest"]

_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "calibrate", "test", "testing"}


def _images_by_class(folder: Path, on_problem: Callable[[str], None] | None = None) -> list[tuple[Path, str]]:
    """Return every image below the class folders of `folder` with its class, sorted.

    Hidden files and folders are skipped. Raise DataError if there are no images, if the folders are named after splits
    instead of classes, or if images lie outside the class folders. With `on_problem`, images outside the class folders
    are reported to it instead, and the others are returned.
    """
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None
    loose = [entry for entry in entries if entry.is_file() and _is_image(entry.name)]
    found = [(image, entry.name) for entry in entries if entry.is_dir() for image in _images_below(entry)]
    if loose:
        problem = f"{folder}: {len(loose)} images are outside the class folders, the first is {loose[0].name}"
        if on_problem is None:
            raise DataError(problem)
        on_problem(problem)
    if not found:
        raise DataError(f"{folder}: no images found. Put the images of each class into a folder named after the class")
    classes = {label for _, label in found}
    if {label.lower() for label in classes} <= _SPLIT_NAMES:
        raise DataError(
            f"{folder}: its folders are named after splits, not classes ({', '.join(sorted(classes))}). "
            "Name one of them, or list the images in a CSV file with a split column"
        )
    return found


def _images_below(folder: Path) -> list[Path]:
    images = []
    for place, folders, names in os.walk(folder, onerror=_refuse_closed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [Path(place, name) for name in names if _is_image(name)]
    return sorted(images)


def _refuse_closed(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be read: {error.strerror}")


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(SUFFIXES)


SPLITS = ("train", "val", "calibrate", "test")
_ALSO_CALLED = {"training": "train", "validation": "val", "valid": "val", "calibration": "calibrate"}
_OWN_COLUMNS = ("image", "label", "group", "split")
_ID_SUFFIXES = ("_downsampled",)  # ISIC 2019 adds it to the ids of images that it took from other collections


@dataclass(frozen=True, slots=True)
class Item:
    """One image: its path, label, group (lesion or patient) and split (None: not split yet)."""

    image: Path
    label: str
    group: str
    split: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)  # other non-empty columns; `mask` as a path


@dataclass(frozen=True, slots=True)
class Manifest:
    """The images of a data set in a fixed order, and the file or folder that lists them."""

    items: tuple[Item, ...]
    origin: Path
    folder: Path | None = None  # image paths are relative to it

    def name(self, item: Item) -> str:
        """Return the path of an item's image relative to the data set."""
        if self.folder is not None and item.image.is_relative_to(self.folder):
            return item.image.relative_to(self.folder).as_posix()
        return item.image.as_posix()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted({item.label for item in self.items}))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that occur, in the order of SPLITS."""
        present = {item.split for item in self.items}
        return tuple(name for name in SPLITS if name in present)

    def split(self, name: str) -> Manifest:
        """Return the items of one split; raise DataError if it is empty."""
        chosen = tuple(item for item in self.items if item.split == name)
        if not chosen:
            known = ", ".join(self.splits) or "none, the data set is not split"
            raise DataError(f"{self.origin}: no split {name!r} (its splits: {known})")
        return replace(self, items=chosen)

    def as_rows(self, folder: Path) -> list[dict[str, str]]:
        """Return one CSV row per item, with image and mask paths relative to `folder`."""
        place = _Relative(folder)
        rows = []
        for item in self.items:
            row = {"image": place(item.image), "label": item.label, "group": item.group, "split": item.split or ""}
            row |= {key: place(Path(text)) if key == "mask" else text for key, text in item.attributes.items()}
            rows.append(row)
        return rows


def image_id(item: Item) -> str:
    """Return the id of an image: the name of its file without folder and suffix, in lower case."""
    name = item.image.stem.lower()
    for suffix in _ID_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def refuse(problem: str) -> NoReturn:
    """Raise `problem` as a DataError. This is how a manifest is read unless the caller wants a list of all problems."""
    raise DataError(problem)


def read_manifest(
    path: Path,
    *,
    root: Path | None = None,
    check_files: bool = True,
    on_problem: Callable[[str], None] = refuse,
) -> Manifest:
    """Read the data set at `path`: a CSV file, or a folder of class folders.

    Image paths in a CSV are relative to `root` (default: the folder of the CSV). An empty `group` becomes the path of
    the image. `check_files=False` does not check that every image exists.

    By default the first problem raises a DataError that names the row. An `on_problem` that returns gets every problem,
    and rows that cannot be read are left out. A path that is not a data set always raises.
    """
    path = Path(path)
    if path.is_dir():
        found = _images_by_class(path, on_problem)
        return Manifest(
            tuple(Item(image, label, image.relative_to(path).as_posix()) for image, label in found), path, path
        )
    if not path.exists():
        raise DataError(f"{path}: no such file or folder. Name a CSV file or a folder of class folders")
    folder = path.parent if root is None else Path(root)
    items = tuple(_once_each(_read_rows(path, folder, on_problem), path, on_problem))
    if not items:
        raise DataError(f"{path}: lists no images")
    for problem in _bad_splits(items, path):
        on_problem(problem)
    if check_files:
        for problem in _missing_files(items, path):
            on_problem(problem)
    return Manifest(items, path, folder)


def write_manifest(manifest: Manifest, path: Path, *, root: Path | None = None) -> None:
    """Write `manifest` to the CSV file `path` atomically, with image paths relative to `root` or its folder."""
    rows = manifest.as_rows(path.parent if root is None else root)
    further = sorted({key for row in rows for key in row} - set(_OWN_COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_OWN_COLUMNS, *further], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue().encode(errors="surrogateescape"))


class _Relative:
    """Make paths relative to one folder. Symbolic links are resolved, because `..` in a path resolves them too."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        self._parents: dict[Path, str] = {}

    def __call__(self, path: Path) -> str:
        if path.parent not in self._parents:
            self._parents[path.parent] = os.path.realpath(path.parent)
        whole = os.path.join(self._parents[path.parent], path.name)
        try:
            return Path(os.path.relpath(whole, self._folder)).as_posix()
        except ValueError:  # another drive on Windows
            return Path(whole).as_posix()


def _read_rows(path: Path, root: Path, on_problem: Callable[[str], None]) -> Iterator[Item]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a UTF-8 CSV file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header, path)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                item = _item(header, cells, root)
                if isinstance(item, Item):
                    yield item
                else:
                    on_problem(f"{path}: line {reader.line_num}: {item}")
    except csv.Error as error:
        on_problem(f"{path}: line {reader.line_num}: not CSV: {error}")


def _check_header(header: list[str], path: Path) -> None:
    if not header:
        raise DataError(f"{path}: empty. Its first line must name the columns image,label")
    missing = [name for name in ("image", "label") if name not in header]
    if missing:
        advice = (
            ". Separate columns with commas" if len(header) == 1 and (";" in header[0] or "\t" in header[0]) else ""
        )
        raise DataError(f"{path}: its first line lacks the column {' and the column '.join(missing)}{advice}")
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:
        raise DataError(f"{path}: its first line names the column {min(twice)} twice")


def _item(header: list[str], cells: list[str], root: Path) -> Item | str:
    """Return the item of a row, or what is wrong with the row."""
    if len(cells) > len(header):
        return f"{len(cells)} values for {len(header)} columns"
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if name}
    for name in ("image", "label"):
        if not row.get(name):
            return f"no {name}"
    split = row.get("split") or None
    split = _ALSO_CALLED.get(split, split) if split else None
    if split is not None and split not in SPLITS:
        return f"unknown split {split!r}. The splits are {', '.join(SPLITS)}"
    attributes = {name: cell for name, cell in row.items() if cell and name not in _OWN_COLUMNS}
    if "mask" in attributes:
        attributes["mask"] = str(root / attributes["mask"])
    return Item(root / row["image"], row["label"], row.get("group") or row["image"], split, attributes)


def _once_each(items: Iterable[Item], path: Path, on_problem: Callable[[str], None]) -> Iterator[Item]:
    seen: set[str] = set()
    for item in items:
        name = os.path.normpath(item.image)
        if name in seen:
            on_problem(f"{path}: lists {item.image} twice. Keep one row per image")
            continue
        seen.add(name)
        yield item


def _bad_splits(items: tuple[Item, ...], path: Path) -> Iterator[str]:
    unsplit = sum(item.split is None for item in items)
    if 0 < unsplit < len(items):
        yield f"{path}: {unsplit} of {len(items)} rows have no split. Fill it in for all rows or for none"
    homes: dict[str, set[str]] = {}
    for item in items:
        if item.split is None:
            continue
        splits = homes.setdefault(item.group, {item.split})
        if len(splits) == 1 and item.split not in splits:
            (home,) = splits
            yield f"{path}: group {item.group!r} is in both {home} and {item.split}. Keep each group in one split"
        splits.add(item.split)


def _missing_files(items: tuple[Item, ...], path: Path) -> Iterator[str]:
    missing = [item.image for item in items if not os.path.isfile(item.image)]
    if missing:
        yield f"{path}: {len(missing)} of {len(items)} images do not exist, the first is {missing[0]}"
