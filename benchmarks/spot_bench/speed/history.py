"""Read and append latency reports: a file with one report, or a history with one report per line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from spot_bench.speed.latency import SCHEMA
from spot_edge.errors import DataError, OutputError
from spot_edge.files import read_file
from spot_edge.model.old_names import current_report

__all__ = ["append_report", "check_history", "read_report"]

_KEYS = {"when", "machine", "conditions", "image", "models"}  # what a comparison uses
_LARGEST = 256 * 1024 * 1024


def check_history(path: Path) -> None:
    """Raise DataError or OutputError if `path` is not a writable history. Call this before measuring for hours."""
    if path.is_symlink() or path.exists():
        _reports(path)
    elif not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be written: no such folder")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written: permission denied")


def append_report(report: dict[str, Any], path: Path) -> None:
    """Append `report` to the history at `path` in one write, so that several processes can append."""
    line = (json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if os.write(handle, line) != len(line):
                raise OutputError(f"{path}: no space left. Its last line is incomplete: remove it")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_report(name: str) -> dict[str, Any]:
    """Read the report `name`: a file, or `file#n` for the n-th report of a history. Without a number, the last.

    `#1` is the first, `#-1` the last, `#-2` the one before.
    """
    path, number = Path(name), -1
    if not path.exists() and "#" in name:
        front, _, index = name.rpartition("#")
        try:
            path, number = Path(front), int(index)
        except ValueError:
            raise DataError(f"{name}: '#' must be followed by the number of a report, such as #1 or #-2") from None
    reports = _reports(path)
    place = number - 1 if number > 0 else len(reports) + number
    if number == 0 or not 0 <= place < len(reports):
        raise DataError(f"{path}: has reports #1 to #{len(reports)}, but no #{number}")
    report = reports[place]
    if report["schema"] != SCHEMA:
        raise DataError(f"{name}: has schema {report['schema']}, not {SCHEMA}. Measure again with this version")
    return report


def _reports(path: Path) -> list[dict[str, Any]]:
    try:
        text = read_file(path, _LARGEST).decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise DataError(f"{path}: latency report cannot be read: {reason}") from None
    try:
        found = [_parse(text)]  # a single report may span several lines
    except ValueError:
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found.append(_parse(line))
            except ValueError:
                raise DataError(f"{path}: line {number} is not a latency report") from None
    if not found:
        raise DataError(f"{path}: no latency report in it")
    return found


def _parse(text: str) -> dict[str, Any]:
    """Parse a latency report; raise ValueError for anything else. Reports of schema 1 have no key `report`."""
    report = current_report(json.loads(text))
    if not isinstance(report, dict) or not isinstance(report.get("schema"), int):
        raise ValueError("not a report")
    ours = report.get("report") == "latency" and report.keys() >= _KEYS
    if not ours and not (report["schema"] == 1 and "samples_needed" in report):
        raise ValueError("another report")
    return report
