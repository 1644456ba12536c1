"""How much room there is for what is to be kept: on the disk and in memory."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from spot_edge.machine import available_memory

__all__ = ["Room", "read_room"]


@dataclass(frozen=True, slots=True)
class Room:
    """Free bytes; None where that is not known."""

    here: int | None = None  # in the working directory
    temporary: int | None = None  # where temporary files go
    memory: int | None = None


def read_room(root: Path = Path("/")) -> Room:
    """The room that there is now, with the kernel's files read under `root`."""
    return Room(_free("."), _free(_temporary()), available_memory(root))


def _free(folder: str | None) -> int | None:
    try:
        return shutil.disk_usage(folder).free if folder else None
    except OSError:  # a share that is away
        return None


def _temporary() -> str | None:
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:  # none that can be written
        return None
