"""Answers as they come, in a file that outlives any interruption: a line an image, from which to go on."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import DataError, OutputError

__all__ = ["Journal"]

SCHEMA = 1
_SYNC_EVERY = 64  # lines: a killed process loses none, a machine without power at most so many


class Journal:
    """The file of an unfinished pass. `about` says what is run over what: only the same may be gone on with."""

    def __init__(self, path: Path, about: dict[str, str], *, resume: bool) -> None:
        """Begin a file at `path`, or `resume` what is there.

        OutputError for a file that is there without being asked for, DataError for one about something else.
        """
        if path.exists() and not resume:
            raise OutputError(f"{path}: left by an interrupted run: go on with --resume, or remove it")
        self._path, self._lines = path, 0
        try:
            self._file = open(path, "r+b" if path.exists() else "x+b")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        header: dict[str, Any] = {"schema": SCHEMA, **about}
        first = self._file.readline()
        if first.endswith(b"\n"):
            try:
                _refuse_other(first, header, path)
            except DataError:
                self.close()
                raise
        else:  # a new file, or one that was killed before its first line was whole
            self._cut(0)
            self._write(json.dumps(header).encode())

    def earlier(self, width: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Rows answered before, and their `width` numbers. What follows the last whole line is cut off."""
        while True:
            place = self._file.tell()
            found = _parse(self._file.readline(), width)
            if found is None:
                break
            yield found
        self._cut(place)

    def add(self, row: int, numbers: NDArray[np.float32]) -> None:
        """Keep the answer of a row."""
        self._write(b"%d %s" % (row, base64.b64encode(numbers.astype("<f4").tobytes())))

    def close(self) -> None:
        """Leave the file as it is."""
        with suppress(OSError):  # what could not be written was said when it happened
            self._file.close()

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line + b"\n")
            self._file.flush()
            if self._lines % _SYNC_EVERY == 0:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error
        self._lines += 1

    def _cut(self, place: int) -> None:
        self._file.seek(place)
        self._file.truncate()


def _refuse_other(line: bytes, header: dict[str, Any], path: Path) -> None:
    try:
        found = dict(json.loads(line))
    except (ValueError, TypeError):
        raise DataError(f"{path}: not a file of unfinished predictions: remove it") from None
    other = [name for name, value in header.items() if found.get(name) != value]
    if other:
        raise DataError(f"{path}: was begun with another {', '.join(other)}: remove it, or name another folder")


def _parse(line: bytes, width: int) -> tuple[int, NDArray[np.float32]] | None:
    try:
        row, content = line.split()
        numbers = np.frombuffer(base64.b64decode(content, validate=True), "<f4").astype(np.float32)
        return (int(row), numbers) if len(numbers) == width and line.endswith(b"\n") else None
    except (ValueError, binascii.Error):
        return None
