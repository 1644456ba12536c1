"""The digests that first downloads were found to have: `digests.json` beside the data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from spot_edge.errors import DataError
from spot_edge.files import write_whole

__all__ = ["DIGESTS", "file_digest", "read_digests", "record_digest"]

DIGESTS = "digests.json"


def file_digest(path: Path) -> str:
    """The SHA-256 of the file at `path`."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_digests(folder: Path) -> dict[str, str]:
    """File names and their recorded digests; none where nothing was recorded yet."""
    path = folder / DIGESTS
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(recorded, dict) or not all(isinstance(digest, str) for digest in recorded.values()):
        raise DataError(f"{path}: not a list of digests")
    return recorded


def record_digest(folder: Path, name: str, digest: str) -> None:
    """Remember that the file `name` has this digest."""
    recorded = read_digests(folder) | {name: digest}
    write_whole(folder / DIGESTS, (json.dumps(dict(sorted(recorded.items())), indent=1) + "\n").encode())
