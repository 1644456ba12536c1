"""Read a run directory: `run.json`, and the images that its extra sources trained on. Needs no Keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spot_bench.data.manifest import Manifest, read_manifest
from spot_edge.errors import DataError
from spot_edge.model.old_names import current_run

__all__ = ["SCHEMA", "SOURCES", "read_run_description", "read_sources"]

SCHEMA = 1
SOURCES = "sources"  # the folder with a manifest for each source


def read_run_description(run: Path) -> dict[str, Any]:
    """Return the `run.json` of the run directory `run`.

    Raise DataError if there is none, if it is not a JSON object, or if it has another schema.
    """
    try:
        data: Any = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{run}: not a run directory: run.json is missing or unreadable") from error
    if not isinstance(data, dict):
        raise DataError(f"{run}: not a run directory: its run.json is not an object")
    if data.get("schema") != SCHEMA:
        raise DataError(f"{run}: run.json has schema {data.get('schema')!r}, but this toolkit reads schema {SCHEMA}")
    return current_run(data)


def read_sources(run: Path) -> tuple[Manifest, ...]:
    """Return the training images of each extra source of the run directory `run`. The images need not exist."""
    return tuple(read_manifest(path, check_files=False) for path in sorted((run / SOURCES).glob("*.csv")))
