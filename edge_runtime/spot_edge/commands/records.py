"""How `classify` writes predictions: text, JSON lines or CSV to a stream, files to folders."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from spot_edge.errors import OutputError, one_line
from spot_edge.files import read_file, write_new_files
from spot_edge.image.inputs import HEATMAP, Found, unique_name
from spot_edge.image.tensor import Prepared
from spot_edge.prediction.prediction import SCHEMA, Prediction
from spot_edge.prediction.wording import describe, disclaimer

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

__all__ = [
    "JSON_START",
    "NullWriter",
    "Result",
    "ResultFiles",
    "Stream",
    "Writer",
    "csv_header",
    "csv_line",
    "csv_text",
    "model_key",
    "writer_for",
]

JSON_START = f'{{"schema": {SCHEMA}, "source": {{"kind": "'  # how each prediction begins
_JPEG_QUALITY = 95
_JPEG_SIDE = 65_500  # pixels: a longer side does not fit into a JPEG
_ENDINGS = (".jpg", ".png", ".json")  # of a saved image and its record
_LARGEST = 512 * 1024 * 1024  # bytes
# What begins a formula in some spreadsheet, in a cell of its own or after apostrophes. A lone - is standard input.
_FORMULA = "(?s)'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]."


class Stream(Protocol):
    """An open text file, or an object like one."""

    def write(self, text: str, /) -> object:
        """Add text."""

    def flush(self) -> object:
        """Make the text visible to readers."""


class Writer(Protocol):
    """Writes predictions, one at a time."""

    def prediction(self, prediction: Prediction) -> None:
        """Write one prediction."""

    def failure(self, image: Found, reason: str) -> None:
        """Write that one image could not be classified."""

    def close(self) -> None:
        """Write the end, if the form has one."""


def writer_for(form: str | None, stream: Stream, labels: Sequence[str], top: int, *, begun: bool = False) -> Writer:
    """Make the writer for `form`: "json", "csv", or None for text. A stream that is `begun` needs no header."""
    if form == "json":
        return _JsonLines(stream)
    if form == "csv":
        return _Csv(stream, labels, begun)
    return _Text(stream, top)


def csv_header(labels: Sequence[str]) -> list[str]:
    """The column names for a model with these labels."""
    return ["source", "top_class", "triage", "malignant_score", *labels, "model", "error"]


def model_key(model: str, views: int = 1) -> str:
    """What identifies the model of a row: its id, and the number of views if there are several."""
    return model if views == 1 else f"{model} {views} views"


def csv_line(cells: Sequence[str]) -> str:
    """One row. It has several lines if a file name does.

    Cells that a spreadsheet would run as a formula begin with an apostrophe, which `csv_text` removes.
    """
    import csv  # slow to import

    row = io.StringIO()
    safe = [f"'{cell}" if re.match(_FORMULA, cell) else cell for cell in cells]
    csv.writer(row, lineterminator="\r\n").writerow(safe)  # line breaks in cells are quoted
    return row.getvalue().removesuffix("\r\n")


def csv_text(cell: str) -> str:
    """What `csv_line` was given for this cell."""
    return cell[1:] if cell.startswith("'") and re.match(_FORMULA, cell) else cell


class NullWriter:
    """A writer without a reader."""

    def prediction(self, prediction: Prediction) -> None:
        """Write nothing."""

    def failure(self, image: Found, reason: str) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Write nothing."""


class _Text:
    def __init__(self, stream: Stream, top: int) -> None:
        self._stream, self._top = stream, top
        self._medical: bool | None = None  # None before the first prediction

    def prediction(self, prediction: Prediction) -> None:
        self._medical = prediction.triage is not None
        _print(describe(prediction, self._top), self._stream)

    def failure(self, image: Found, reason: str) -> None:
        """Write nothing: the reason goes to stderr anyway."""

    def close(self) -> None:
        if self._medical is not None:
            _print(f"\n{disclaimer(medical=self._medical)}", self._stream)


class _JsonLines:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def prediction(self, prediction: Prediction) -> None:
        self._line(prediction.as_dict())

    def failure(self, image: Found, reason: str) -> None:
        kind = "frame" if image.frame else "bytes" if image.path == "-" else "path"
        self._line({"schema": SCHEMA, "source": {"kind": kind, "name": image.path}, "error": reason})

    def close(self) -> None:
        """Write nothing more: each line is complete."""

    def _line(self, record: dict[str, object]) -> None:
        _print(json.dumps(record), self._stream)  # ASCII, because not every file name is valid Unicode


class _Csv:
    def __init__(self, stream: Stream, labels: Sequence[str], begun: bool) -> None:
        self._labels, self._stream = labels, stream
        self._terminal = isinstance(stream, io.TextIOBase) and stream.isatty()  # control characters would act there
        if not begun:
            self._row(*csv_header(labels))

    def prediction(self, prediction: Prediction) -> None:
        scores = {e.label: "" if prediction.misbehaves else f"{e.score:.6f}" for e in prediction.ranked}
        triage = prediction.triage
        malignant = triage and triage.malignant_score
        self._row(
            prediction.source["name"],
            "" if prediction.quality or prediction.misbehaves else prediction.top.label,  # scores, but no top class
            triage.category if triage else "",
            "" if malignant is None else f"{malignant:.6f}",
            *(scores[label] for label in self._labels),
            model_key(prediction.model["id"], prediction.model.get("views", 1)),
            "",
        )

    def failure(self, image: Found, reason: str) -> None:
        self._row(image.path, *[""] * (4 + len(self._labels)), reason)

    def close(self) -> None:
        """Write nothing more: each row is complete."""

    def _row(self, *cells: str) -> None:
        line = csv_line(cells)
        _print(one_line(line) if self._terminal else line, self._stream)


def _print(text: str, stream: Stream) -> None:
    """Print and flush, so that readers see each prediction at once, and a full disk is reported at once."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror or error}") from error


class Result(NamedTuple):
    """A file to write, before it has a name."""

    folder: Path
    ending: str
    content: bytes


class ResultFiles:
    """Writes heat maps, and records with their images. Never overwrites a file, whoever else writes to the folders.

    A record holds the digest of its image. With `resume`, files that an earlier run left are recognized by their
    content and not written twice.
    """

    def __init__(self, heatmaps: Path | None = None, records: Path | None = None, *, resume: bool = False) -> None:
        self.heatmaps, self.records, self._resume = heatmaps, records, resume
        self._taken: set[str] = set()
        for folder, endings in ((self.heatmaps, (HEATMAP,)), (self.records, _ENDINGS)):
            names = os.listdir(folder) if folder is not None else []
            for ending in endings:
                if folder is not None and resume:
                    _remove_unfinished(folder, names, ending)
                self._taken |= {name[: -len(ending)].casefold() for name in names if name.casefold().endswith(ending)}

    @property
    def any(self) -> bool:
        """Whether there is anything to write."""
        return self.heatmaps is not None or self.records is not None

    def save(self, relative: str, prepared: Prepared, prediction: Prediction) -> None:
        """Write the files of one image."""
        self.write(relative, self.results(prepared, prediction))

    def results(self, prepared: Prepared, prediction: Prediction) -> list[Result]:
        """Make the files of one image, without writing them. Thread-safe."""
        found = []
        if self.heatmaps is not None and not prediction.misbehaves:
            from spot_edge.prediction.heatmap import overlay_png

            found.append(Result(self.heatmaps, HEATMAP, overlay_png(prepared, prediction)))
        if self.records is not None:
            ending, image = _encode(prepared.full_image())
            found.append(Result(self.records, ending, image))
            record = prediction.as_dict() | {"saved_image_sha256": hashlib.sha256(image).hexdigest()}
            found.append(Result(self.records, ".json", f"{json.dumps(record, indent=2)}\n".encode()))
        return found

    def write(self, relative: str, results: Sequence[Result]) -> None:
        """Write the files of one image under a name that is not in use."""
        if not results:
            return
        tried: set[str] = set() if self._resume else self._taken
        while True:
            name = unique_name(relative, tried)
            missing = [(folder / f"{name}{ending}", content) for folder, ending, content in results]
            if self._resume and name.casefold() in self._taken:
                if not _is_leftover(missing):
                    continue
                missing = [(path, content) for path, content in missing if not path.is_file()]
            self._taken.add(name.casefold())
            if write_new_files(missing):
                return


def _encode(image: Image.Image) -> tuple[str, bytes]:
    """The ending and the bytes of an image file: a JPEG, or a PNG if a side is too long for a JPEG."""
    encoded = io.BytesIO()
    if max(image.size) > _JPEG_SIDE:
        image.save(encoded, "PNG")
        return ".png", encoded.getvalue()
    image.save(encoded, "JPEG", quality=_JPEG_QUALITY)
    return ".jpg", encoded.getvalue()


def _is_leftover(files: Sequence[tuple[Path, bytes]]) -> bool:
    """Whether those of `files` that exist were left by a killed run and hold these results."""
    found = [(path, content) for path, content in files if path.is_file()]
    return bool(found) and all(_is_same(path, content) for path, content in found)


def _is_same(path: Path, content: bytes) -> bool:
    """Whether the file holds `content`, ignoring timings."""
    try:
        present = read_file(path, _LARGEST)
    except OSError:
        return False
    if path.suffix == ".json":
        return _without_times(present) == _without_times(content)
    return present == content


def _without_times(content: bytes) -> object:
    try:
        return {key: value for key, value in json.loads(content).items() if key != "timings_ms"}
    except (ValueError, AttributeError, RecursionError):
        return content


def _remove_unfinished(folder: Path, names: Sequence[str], ending: str) -> None:
    """Remove temporary files of processes that were killed while they wrote a result."""
    for name in names:
        match = re.fullmatch(rf"(?s)\..+{re.escape(ending)}\.(\d+)-\d+", name)  # names may hold line breaks
        if match and not _is_alive(int(match[1])):
            with suppress(OSError):
                (folder / name).unlink()


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # on Windows, signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's process
        return True
    return True
