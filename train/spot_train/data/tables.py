"""Read the tables of a data set: the label of each image, and its further columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spot_edge.errors import DataError
from spot_train.data.archive import open_archive
from spot_train.data.sources import File, Source

__all__ = ["ImageFacts", "read_tables"]

_LARGEST = 200_000_000  # bytes
_NOTHING = ("", "unknown", "nan", "na")

Row = Mapping[str, str]


@dataclass(slots=True)
class ImageFacts:
    """The label and columns of one image."""

    label: str
    columns: dict[str, str] = field(default_factory=dict)  # by their names in the manifest


def read_tables(source: Source, folder: Path) -> dict[str, ImageFacts]:
    """Return the facts about each image by its name without suffix, in the order of the truth tables in `folder`."""
    facts: dict[str, ImageFacts] = {}
    missing = set(source.columns)
    for file in source.of("truth"):
        for row in _rows(file, folder, [source.id, *source.labels]):
            missing -= row.keys()
            label = _label(source, file, row)
            if row[source.id] in facts:
                raise DataError(f"{file.name}: lists {row[source.id]} twice")
            if label is not None:
                facts[row[source.id]] = ImageFacts(label, _renamed(source, row))
    for file in source.of("about"):
        for row in _rows(file, folder, [source.id]):
            missing -= row.keys()
            if row[source.id] in facts:
                facts[row[source.id]].columns |= _renamed(source, row)
    if missing:
        raise DataError(f"{source.name}: its tables lack the column {min(missing)!r}")
    if not facts:
        raise DataError(f"{source.name}: its tables list no images")
    return facts


def _label(source: Source, file: File, row: Row) -> str | None:
    """Return the label of a row, or None if its image is ignored."""
    marked = [column for column in (*source.labels, *source.ignore) if _is_one(row.get(column, ""))]
    if len(marked) > 1 or not (marked or source.otherwise):
        raise DataError(f"{file.name}: {row[source.id]} has {len(marked)} labels instead of one")
    if not marked:
        return source.otherwise
    return source.labels.get(marked[0])


def _is_one(text: str) -> bool:
    try:
        return float(text) == 1
    except ValueError:
        return False


def _renamed(source: Source, row: Row) -> dict[str, str]:
    named = {ours: row.get(theirs, "") for theirs, ours in source.columns.items()}
    return {name: text for name, text in named.items() if text.lower() not in _NOTHING}


def _rows(file: File, folder: Path, needed: list[str]) -> Iterator[Row]:
    try:
        text = _content(file, folder).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = reader.fieldnames or []
        missing = [column for column in needed if column not in columns]
        if missing:
            raise DataError(f"{file.name}: has no column {missing[0]!r}")
        for cells in reader:
            row = {name: (cell or "").strip() for name, cell in cells.items() if name is not None}
            if row[needed[0]]:
                yield row
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file.name}: not a CSV file in UTF-8: {error}") from None


def _content(file: File, folder: Path) -> bytes:
    path = folder / file.name
    if not file.name.lower().endswith(".zip"):
        return path.read_bytes()
    with open_archive(path, file.name, _LARGEST) as archive:
        tables = archive.members_ending_in(".csv")
        if len(tables) != 1:
            raise DataError(f"{file.name}: contains {len(tables)} CSV files instead of one")
        return b"".join(archive.read(tables[0]))
