"""How `classify` writes answers: words, JSON lines or CSV to a stream, and heat maps and records to folders."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from spot_edge.errors import OutputError
from spot_edge.files import write_file
from spot_edge.image.inputs import HEATMAP, Found, unique_name
from spot_edge.image.tensor import Prepared
from spot_edge.prediction.prediction import SCHEMA, Prediction
from spot_edge.prediction.wording import DISCLAIMER, describe

__all__ = ["JSON_START", "Keeper", "Nowhere", "Result", "Stream", "Writer", "csv_header", "csv_line", "writer_for"]

JSON_START = f'{{"schema": {SCHEMA}, "source": {{"kind": "'  # how each answer begins
_JPEG_QUALITY = 95


class Stream(Protocol):
    """Where text goes: a file that is open, or what is like one."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> object:
        """Let the text be seen."""


class Writer(Protocol):
    """Where answers go, one at a time."""

    def answer(self, prediction: Prediction) -> None:
        """Write one answer."""

    def failure(self, picture: Found, reason: str) -> None:
        """Write that one picture could not be judged."""

    def close(self) -> None:
        """Write what belongs at the end."""


def writer_for(form: str | None, stream: Stream, labels: Sequence[str], top: int, *, begun: bool = False) -> Writer:
    """The writer of `form`: "json", "csv", or None for words. What is `begun` has what belongs at the beginning."""
    if form == "json":
        return _JsonLines(stream)
    if form == "csv":
        return _Csv(stream, labels, begun)
    return _Words(stream, top)


def csv_header(labels: Sequence[str]) -> list[str]:
    """The names of the columns, for a model with these labels."""
    return ["source", "first", "triage", "malignant_score", *labels, "model", "error"]


def csv_line(cells: Sequence[str]) -> str:
    """A row, which is several lines where a file's name is."""
    import csv  # slow to import

    row = io.StringIO()
    csv.writer(row, lineterminator="\r\n").writerow(cells)  # what ends a row is what is quoted within one
    return row.getvalue().removesuffix("\r\n")


class Nowhere:
    """A writer whose reader has gone."""

    def answer(self, prediction: Prediction) -> None:
        """Write nothing."""

    def failure(self, picture: Found, reason: str) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Write nothing."""


class _Words:
    def __init__(self, stream: Stream, top: int) -> None:
        self._stream, self._top, self._any = stream, top, False

    def answer(self, prediction: Prediction) -> None:
        self._any = True
        _print(describe(prediction, self._top), self._stream)

    def failure(self, picture: Found, reason: str) -> None:
        """Nothing: the reason goes to stderr anyway."""

    def close(self) -> None:
        if self._any:
            _print(f"\n{DISCLAIMER}", self._stream)


class _JsonLines:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def answer(self, prediction: Prediction) -> None:
        self._line(prediction.as_dict())

    def failure(self, picture: Found, reason: str) -> None:
        kind = "frame" if picture.frame else "bytes" if picture.path == "-" else "path"
        self._line({"schema": SCHEMA, "source": {"kind": kind, "name": picture.path}, "error": reason})

    def close(self) -> None:
        """Nothing more: each line is complete."""

    def _line(self, record: dict[str, object]) -> None:
        _print(json.dumps(record), self._stream)  # in ASCII: not every file name is Unicode


class _Csv:
    def __init__(self, stream: Stream, labels: Sequence[str], begun: bool) -> None:
        self._labels, self._stream = labels, stream
        if not begun:
            self._row(*csv_header(labels))

    def answer(self, prediction: Prediction) -> None:
        scores = {score.label: f"{score.score:.6f}" for score in prediction.ranked}
        malignant = prediction.triage.malignant_score
        self._row(
            prediction.source["name"],
            "" if prediction.quality else prediction.top.label,  # a picture that is not fit has scores, but no rank
            prediction.triage.category,
            "" if malignant is None else f"{malignant:.6f}",
            *(scores[label] for label in self._labels),
            prediction.model["id"],
            "",
        )

    def failure(self, picture: Found, reason: str) -> None:
        self._row(picture.path, *[""] * (4 + len(self._labels)), reason)

    def close(self) -> None:
        """Nothing more: each row is complete."""

    def _row(self, *cells: str) -> None:
        _print(csv_line(cells), self._stream)


def _print(text: str, stream: Stream) -> None:
    """Print and flush, so that a reader sees each answer when it is there, and a full disk is told at once."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror or error}") from error


class Result(NamedTuple):
    """A file that was asked for, without its name as yet."""

    folder: Path
    ending: str
    content: bytes


class Keeper:
    """Files that were asked for: heat maps, and answers with their pictures. Nothing is overwritten.

    Where a run is gone on with, what it left before it was killed is found `again` by its content, not kept twice.
    """

    def __init__(self, heatmaps: Path | None = None, records: Path | None = None, *, again: bool = False) -> None:
        self.heatmaps, self.records, self._again = heatmaps, records, again
        self._taken: set[str] = set()
        for folder, ending in ((self.heatmaps, HEATMAP), (self.records, ".json"), (self.records, ".jpg")):
            if folder is not None:
                names = [path.name for path in folder.iterdir()]
                if again:
                    _remove_unfinished(folder, names, ending)
                self._taken |= {name[: -len(ending)].casefold() for name in names if name.casefold().endswith(ending)}

    @property
    def keeps(self) -> bool:
        """Whether anything was asked for."""
        return self.heatmaps is not None or self.records is not None

    def keep(self, relative: str, prepared: Prepared, prediction: Prediction) -> None:
        """Write what was asked for about one picture."""
        self.write(relative, self.results(prepared, prediction))

    def results(self, prepared: Prepared, prediction: Prediction) -> list[Result]:
        """What was asked for about one picture, to be written. Threads may do this at once."""
        found = []
        if self.heatmaps is not None:
            from spot_edge.prediction.heatmap import overlay_png

            found.append(Result(self.heatmaps, HEATMAP, overlay_png(prepared, prediction)))
        if self.records is not None:
            picture = io.BytesIO()
            prepared.image.save(picture, "JPEG", quality=_JPEG_QUALITY)
            found.append(Result(self.records, ".jpg", picture.getvalue()))
            record = json.dumps(prediction.as_dict(), indent=2)
            found.append(Result(self.records, ".json", f"{record}\n".encode()))
        return found

    def write(self, relative: str, results: Sequence[Result]) -> None:
        """Write the results of one picture under a name that is theirs alone."""
        if not results:
            return
        if self._again:
            taken: set[str] = set()
            name = unique_name(relative, taken)
            while name.casefold() in self._taken and not _left(name, results):
                name = unique_name(relative, taken)
            self._taken.add(name.casefold())
        else:
            name = unique_name(relative, self._taken)
        for folder, ending, content in results:
            path = folder / f"{name}{ending}"
            if not (self._again and path.is_file()):
                write_file(path, content)


def _left(name: str, results: Sequence[Result]) -> bool:
    """Whether the files of this name are what a killed run has left of these results."""
    found = [(path, content) for folder, ending, content in results if (path := folder / f"{name}{ending}").is_file()]
    return bool(found) and all(_is_same(path, content) for path, content in found)


def _is_same(path: Path, content: bytes) -> bool:
    """Whether the file holds `content`, but for the times that an answer took."""
    if path.suffix == ".json":
        return _without_times(path.read_bytes()) == _without_times(content)
    return path.stat().st_size == len(content) and path.read_bytes() == content


def _without_times(content: bytes) -> object:
    try:
        return {key: value for key, value in json.loads(content).items() if key != "timings_ms"}
    except (ValueError, AttributeError):
        return content


def _remove_unfinished(folder: Path, names: Sequence[str], ending: str) -> None:
    """Remove what processes that were killed while they wrote a result have left."""
    for name in names:
        left = re.fullmatch(rf"(?s)\..+{re.escape(ending)}\.(\d+)-\d+", name)  # a name may hold line breaks
        if left and not _is_alive(int(left[1])):
            with suppress(OSError):
                (folder / name).unlink()


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True
