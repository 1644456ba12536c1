"""The file of `classify --out`, from which an interrupted run can resume."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from spot_edge.commands.records import JSON_START, csv_header, csv_line, csv_text, model_key
from spot_edge.errors import OutputError
from spot_edge.files import NO_WAITING
from spot_edge.image.inputs import Found, absolute

__all__ = ["PredictionFile"]

_LONGEST = 16 << 20  # bytes of a record: names may have line breaks, and models thousands of classes
_MOST_BREAKS = 16  # in half a row: a file name may have some, and the reason why it failed repeats them
_SYNC_EVERY = 5.0  # seconds of predictions that a power failure may cost; a killed process loses none


class _Record(NamedTuple):
    name: str
    model: str | None  # None if the image could not be classified


class PredictionFile:
    """A file to which predictions are appended, each in one write. It is locked while it is open."""

    def __init__(self, path: Path, form: str, model: str, labels: Sequence[str], *, resume: bool) -> None:
        """Create the file at `path`, or `resume` it: predictions in `form` ("json" or "csv") by `model`, a `model_key`.

        Raises OutputError if the file exists and is not to be resumed, is in use, or holds anything else.
        """
        self._path, self._text, self._synced = path, "", time.monotonic()
        self._names: Counter[str] = Counter()  # images that are in the file already
        self._failed: Counter[str] = Counter()
        self._first = ""
        try:
            with ExitStack() as failed:
                self._file = failed.enter_context(_open(path, resume=resume))
                _lock(self._file, path)
                self._file.truncate(self._read(form, model, labels))
                failed.pop_all()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error

    @property
    def begun(self) -> bool:
        """Whether the file has content."""
        return os.fstat(self._file.fileno()).st_size > 0

    def missing(self, found: Sequence[Found]) -> tuple[list[Found], int]:
        """Return those of `found` that are not in the file, and how many of the others could not be classified.

        Images are identified by their paths. Raises OutputError if the file holds only other images.
        """
        missing, failed = [], 0
        for image in found:
            name = _key(image.path)
            if not self._names[name]:
                missing.append(image)
                continue
            self._names[name] -= 1
            if self._failed[name]:
                self._failed[name] -= 1
                failed += 1
        if self._first and found and len(missing) == len(found):
            raise OutputError(
                f"{self._path}: holds predictions for other images, such as {self._first}: pass the same paths as "
                "before, from the same folder, or choose another file"
            )
        return missing, failed

    def write(self, text: str, /) -> None:
        """Add text. `flush` writes it."""
        self._text += text

    def flush(self) -> None:
        """Append the added text to the file."""
        content, self._text = self._text.encode(errors="backslashreplace"), ""
        try:
            while content:
                content = content[self._file.write(content) :]
            if time.monotonic() - self._synced > _SYNC_EVERY:
                self._sync()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Sync and close the file."""
        with suppress(OSError):  # write errors were reported when they happened
            self._sync()
            self._file.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _read(self, form: str, model: str, labels: Sequence[str]) -> int:
        """Read the records. Returns where the last complete one ends: a killed process may leave half of one."""
        header = "" if form == "json" else f"{csv_line(csv_header(labels))}\n"
        start = (header or JSON_START).encode()
        with open(os.dup(self._file.fileno()), "rb") as file:  # not the path, which may name another file by now
            file.seek(0)
            head = file.read(len(start))
            if head != start:
                if start.startswith(head):
                    return 0
                raise OutputError(
                    f"{self._path}: does not hold --{form} predictions with these classes: choose another file"
                )
            number, place = 0, file.seek(len(header.encode()))
            for number, record in enumerate(_records(file, quoted=form == "csv"), 1):
                try:
                    entry = _from_json(record) if form == "json" else _from_csv(record, len(labels))
                except (ValueError, KeyError, TypeError, RecursionError, csv.Error):
                    raise self._damaged(number) from None
                if entry.model not in (model, None):
                    other = "number of views" if entry.model[:64] == model[:64] else "model"
                    raise OutputError(f"{self._path}: record {number} is from another {other}: choose another file")
                self._note(entry)
                place += len(record)
            file.seek(place)
            if form == "csv" and _hides_rows(file.read(), len(labels)):
                raise self._damaged(number + 1)
        return place

    def _damaged(self, number: int) -> OutputError:
        return OutputError(f"{self._path}: record {number} is damaged: repair it, or choose another file")

    def _note(self, entry: _Record) -> None:
        name = _key(entry.name)
        self._first = self._first or entry.name
        self._names[name] += 1
        if entry.model is None:
            self._failed[name] += 1


def _open(path: Path, *, resume: bool) -> io.FileIO:
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: not a regular file")
    try:
        return open(path, "x+b", buffering=0)
    except FileExistsError:
        if not resume:
            raise OutputError(f"{path}: exists: continue it with --resume, or choose another file") from None
    handle = os.open(path, os.O_RDWR | os.O_APPEND | NO_WAITING | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):  # a pipe has taken the name since
        os.close(handle)
        raise OutputError(f"{path}: not a regular file")
    return io.FileIO(handle, "a+")


def _lock(file: io.FileIO, path: Path) -> None:
    """Lock the file until it is closed or this process ends."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{path}: another spot-edge process is writing to it") from None
    except OSError:  # a file system without locks
        return


def _records(file: BinaryIO, *, quoted: bool) -> Iterator[bytes]:
    """The complete records from here on: lines, except that a `quoted` cell may contain line breaks."""
    lines: list[bytes] = []
    length = quotes = 0
    while line := file.readline(_LONGEST):
        lines.append(line)
        length, quotes = length + len(line), quotes + line.count(b'"')
        if line.endswith(b"\n") and not (quoted and quotes % 2):
            yield b"".join(lines)
            lines, length, quotes = [], 0, 0
        elif length >= _LONGEST:
            yield b"".join(lines)  # a quote or a line without an end: not one of our records
            return


def _from_json(record: bytes) -> _Record:
    data = json.loads(record)
    name = str(data["source"]["name"])
    if "error" in data or data["ranked"][0]["score"] is None:
        return _Record(name, None)
    return _Record(name, model_key(str(data["model"]["id"]), data["model"].get("views", 1)))


def _from_csv(record: bytes, classes: int) -> _Record:
    cells = _cells(record.decode())
    if len(cells) != classes + 6:
        raise ValueError("wrong number of cells")
    return _Record(csv_text(cells[0]), cells[-2] if cells[4] and not cells[-1] else None)


def _cells(row: str) -> list[str]:
    csv.field_size_limit(_LONGEST)  # the default is shorter than the longest name and its reason
    (cells,) = csv.reader(io.StringIO(row, newline=""), strict=True)
    return cells


def _hides_rows(rest: bytes, classes: int) -> bool:
    """Whether `rest`, in which a quote is open at the end, is more than half a row: a stray quote hides whole rows."""
    *lines, _ = rest.split(b"\n", _MOST_BREAKS + 1)
    return len(lines) > _MOST_BREAKS or any(_is_row(line, classes) for line in lines)


def _is_row(line: bytes, classes: int) -> bool:
    """Whether the line is a complete row, apart from a stray quote."""
    text = line.decode(errors="replace")
    if text.count('"') % 2:
        return text.count(",") >= classes + 5  # too many for half a row
    try:
        return len(_cells(text)) == classes + 6
    except (ValueError, csv.Error):
        return False


def _key(name: str) -> str:
    """The key of an image: its absolute path, escaped as in the file."""
    path = name if name == "-" else absolute(name)
    return path.encode(errors="backslashreplace").decode()
