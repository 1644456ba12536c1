"""The file of `classify --out`: one answer after the other, from which a run that was ended can go on."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from spot_edge.commands.records import JSON_START, csv_header, csv_line
from spot_edge.errors import OutputError
from spot_edge.image.inputs import Found

__all__ = ["AnswerFile"]

_LONGEST = 64  # lines of a record: a file's name may have line breaks
_SYNC_EVERY = 5.0  # seconds: a killed process loses no answer, a machine without power those of so long


class _Answer(NamedTuple):
    name: str
    model: str | None  # None where the picture could not be judged


class AnswerFile:
    """A file that answers are added to, each in one write. While it is open no other process may add to it."""

    def __init__(self, path: Path, form: str, model: str, labels: Sequence[str], *, resume: bool) -> None:
        """Begin the file at `path`, or `resume` what is there: answers in `form`, "json" or "csv", of the model with
        this id and these labels.

        OutputError for a file that is there without being asked for, is in use, or holds anything else.
        """
        self._path, self._text, self._synced = path, "", time.monotonic()
        self._names: Counter[str] = Counter()  # of pictures that have an answer already
        self._failed: Counter[str] = Counter()
        self._first = ""
        try:
            self._file = _open(path, resume=resume)
            _lock(self._file, path)
            self._file.truncate(self._read(form, model, labels))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error

    @property
    def begun(self) -> bool:
        """Whether the file holds anything."""
        return os.fstat(self._file.fileno()).st_size > 0

    def missing(self, found: Sequence[Found]) -> tuple[list[Found], int]:
        """Those of `found` that have no answer here, and how many of the others could not be judged.

        A picture is known by its path. OutputError where none of them has an answer, but others have.
        """
        missing, failed = [], 0
        for picture in found:
            name = _key(picture.path)
            if not self._names[name]:
                missing.append(picture)
                continue
            self._names[name] -= 1
            if self._failed[name]:
                self._failed[name] -= 1
                failed += 1
        if self._first and found and len(missing) == len(found):
            raise OutputError(
                f"{self._path}: holds answers to other pictures, first {self._first}: name them as they were named "
                "then, in the same folder, or name another file"
            )
        return missing, failed

    def write(self, text: str, /) -> None:
        """Take some text, which is written when it is flushed."""
        self._text += text

    def flush(self) -> None:
        """Write at the end of the file what was taken."""
        content, self._text = self._text.encode(errors="backslashreplace"), ""
        try:
            while content:
                content = content[self._file.write(content) :]
            if time.monotonic() - self._synced > _SYNC_EVERY:
                self._sync()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Leave the file, and see that it lasts."""
        with suppress(OSError):  # what could not be written was told when it happened
            self._sync()
            self._file.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _read(self, form: str, model: str, labels: Sequence[str]) -> int:
        """Note what the file holds; where its last whole answer ends. What follows there was being written when its
        process was killed."""
        header = "" if form == "json" else f"{csv_line(csv_header(labels))}\n"
        start = (header or JSON_START).encode()
        with open(self._path, "rb") as file:
            head = file.read(len(start))
            if head != start:
                if start.startswith(head):
                    return 0
                raise OutputError(f"{self._path}: holds no answers as --{form} with these classes: name another file")
            place = file.seek(len(header.encode()))
            for number, record in enumerate(_records(file, quoted=form == "csv"), 1):
                try:
                    answer = _from_json(record) if form == "json" else _from_csv(record, len(labels))
                except (ValueError, KeyError, TypeError, csv.Error):
                    raise OutputError(
                        f"{self._path}: answer {number} is not of this form: mend it, or name another file"
                    ) from None
                if answer.model not in (model, None):
                    raise OutputError(f"{self._path}: answer {number} is another model's: name another file")
                self._note(answer)
                place += len(record)
        return place

    def _note(self, answer: _Answer) -> None:
        name = _key(answer.name)
        self._first = self._first or answer.name
        self._names[name] += 1
        if answer.model is None:
            self._failed[name] += 1


def _open(path: Path, *, resume: bool) -> io.FileIO:
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: not a plain file")
    try:
        return open(path, "xb", buffering=0)
    except FileExistsError:
        if not resume:
            raise OutputError(f"{path}: exists already: go on with --resume, or name another file") from None
    return open(path, "ab", buffering=0)


def _lock(file: io.FileIO, path: Path) -> None:
    """Keep the file from others until it is closed, or this process ends."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{path}: another spot-edge is writing to it") from None
    except OSError:  # a file system without locks
        return


def _records(file: BinaryIO, *, quoted: bool) -> Iterator[bytes]:
    """The whole records from here on: lines, but that of a `quoted` cell's line breaks are its own."""
    record = b""
    for line in file:
        record += line
        if line.endswith(b"\n") and not (quoted and record.count(b'"') % 2):
            yield record
            record = b""
        elif record.count(b"\n") > _LONGEST:
            yield record  # a quote that is never closed: no answer of ours
            return


def _from_json(record: bytes) -> _Answer:
    answer = json.loads(record)
    return _Answer(str(answer["source"]["name"]), None if "error" in answer else str(answer["model"]["id"]))


def _from_csv(record: bytes, classes: int) -> _Answer:
    (cells,) = csv.reader(io.StringIO(record.decode(), newline=""))
    if len(cells) != classes + 6:
        raise ValueError("too few cells, or too many")
    return _Answer(cells[0], None if cells[-1] else cells[-2])


def _key(name: str) -> str:
    """What a picture is known by: its path from the root, as the file can hold it."""
    path = name if name == "-" else os.path.abspath(name)
    return path.encode(errors="backslashreplace").decode()
