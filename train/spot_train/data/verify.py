"""Verify downloads by size and SHA-256, and record the digests of first downloads in `digests.json`."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from pathlib import Path

from spot_edge.errors import DataError
from spot_edge.files import write_file
from spot_train.data.archive import open_archive
from spot_train.data.sources import File

__all__ = ["DIGESTS", "file_digest", "read_digests", "record_digest", "verify"]

DIGESTS = "digests.json"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of the file at `path`."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_digests(folder: Path) -> dict[str, str]:
    """Return the recorded digests by file name; empty if there are none yet."""
    path = folder / DIGESTS
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(recorded, dict) or not all(isinstance(digest, str) for digest in recorded.values()):
        raise DataError(f"{path}: not a table of digests")
    return recorded


def record_digest(folder: Path, name: str, digest: str) -> None:
    """Record the digest of the file `name`."""
    recorded = read_digests(folder) | {name: digest}
    write_file(folder / DIGESTS, (json.dumps(dict(sorted(recorded.items())), indent=1) + "\n").encode())


def verify(path: Path, file: File, recorded: str, max_bytes: int) -> str:
    """Return the SHA-256 of the download at `path`.

    DataError if its size or digest is not that of `file`. Without a known digest, the content itself is checked.
    """
    size = os.path.getsize(path)
    if file.size and size != file.size:
        raise DataError(f"{file.name}: has {size} bytes instead of {file.size}")
    digest = file_digest(path)
    expected = file.sha256 or recorded
    if expected and digest != expected:
        origin = "of the list of sources" if file.sha256 else "of the first download"
        raise DataError(f"{file.name}: has the SHA-256 {digest}, not the one {origin}, {expected}")
    if not expected:
        _check_content(path, file, max_bytes)
    return digest


def _check_content(path: Path, file: File, max_bytes: int) -> None:
    if file.name.lower().endswith(".zip"):
        with open_archive(path, file.name, max_bytes) as archive:
            archive.check()
        return
    try:
        with open(path, encoding="utf-8-sig", newline="") as text:
            columns = next(csv.reader(text), [])
    except (UnicodeDecodeError, csv.Error):
        columns = []
    if len(columns) < 2:
        raise DataError(f"{file.name}: not a CSV file with at least two columns")
