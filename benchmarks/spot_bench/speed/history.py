"""Latency reports kept: a file of one report, or a history with one report a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from spot_bench.speed.latency import SCHEMA
from spot_edge.errors import DataError, OutputError
from spot_edge.files import read_file

__all__ = ["append_report", "check_history", "read_report"]

_PARTS = {"when", "machine", "conditions", "picture", "models"}  # what a comparison looks at
_LARGEST = 256 * 1024 * 1024


def check_history(path: Path) -> None:
    """Refuse, before hours of measuring, a file that is not a history of latency reports."""
    if path.is_symlink() or path.exists():
        _reports(path)
    elif not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be written: no such folder")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise OutputError(f"{path}: cannot be written: permission denied")


def append_report(report: dict[str, Any], path: Path) -> None:
    """Add `report` as the last line of the history at `path`, in one write: others may add theirs meanwhile."""
    line = (json.dumps(report, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            if os.write(handle, line) != len(line):
                raise OutputError(f"{path}: no space left: its last line is incomplete: remove it")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_report(name: str) -> dict[str, Any]:
    """The report that `name` means: a file, or `file#n` for the n-th of a history; without a number the last.

    `#1` is the first, `#-1` the last, `#-2` the one before.
    """
    path, number = Path(name), -1
    if not path.exists() and "#" in name:
        front, _, behind = name.rpartition("#")
        try:
            path, number = Path(front), int(behind)
        except ValueError:
            raise DataError(f"{name}: after '#' belongs the number of a report, such as #1 or #-2") from None
    reports = _reports(path)
    place = number - 1 if number > 0 else len(reports) + number
    if number == 0 or not 0 <= place < len(reports):
        raise DataError(f"{path}: has reports #1 to #{len(reports)}, not #{number}")
    report = reports[place]
    if report["schema"] != SCHEMA:
        raise DataError(f"{name}: has schema {report['schema']}, not {SCHEMA}: measure again, with this version")
    return report


def _reports(path: Path) -> list[dict[str, Any]]:
    try:
        text = read_file(path, _LARGEST).decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise DataError(f"{path}: latency report cannot be read: {reason}") from None
    try:
        found = [_parse(text)]  # a report by itself may have many lines
    except ValueError:
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found.append(_parse(line))
            except ValueError:
                raise DataError(f"{path}: line {number} is no latency report") from None
    if not found:
        raise DataError(f"{path}: holds no latency report")
    return found


def _parse(text: str) -> dict[str, Any]:
    """ValueError for anything but a latency report; one of schema 1 did not yet say that it is one."""
    report = json.loads(text)
    if not isinstance(report, dict) or not isinstance(report.get("schema"), int):
        raise ValueError("not a report")
    ours = report.get("report") == "latency" and report.keys() >= _PARTS
    if not ours and not (report["schema"] == 1 and "needed" in report):
        raise ValueError("another report")
    return report
