"""How `classify` writes answers: words, JSON lines or CSV to a stream, and heat maps and records to folders."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

from spot_edge.errors import OutputError
from spot_edge.files import write_whole
from spot_edge.image import Prepared
from spot_edge.inputs import HEATMAP, Found, unique_name
from spot_edge.prediction import SCHEMA, Prediction
from spot_edge.wording import DISCLAIMER, describe

__all__ = ["Keeper", "Nowhere", "Writer", "writer_for"]

_JPEG_QUALITY = 95


class Writer(Protocol):
    """Where answers go, one at a time."""

    def answer(self, prediction: Prediction) -> None:
        """Write one answer."""

    def failure(self, picture: Found, reason: str) -> None:
        """Write that one picture could not be judged."""

    def close(self) -> None:
        """Write what belongs at the end."""


def writer_for(form: str | None, stream: IO[str], labels: Sequence[str], top: int) -> Writer:
    """The writer of `form`: "json", "csv", or None for words."""
    if form == "json":
        return _JsonLines(stream)
    if form == "csv":
        return _Csv(stream, labels)
    return _Words(stream, top)


class Nowhere:
    """A writer whose reader has gone."""

    def answer(self, prediction: Prediction) -> None:
        """Write nothing."""

    def failure(self, picture: Found, reason: str) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Write nothing."""


class _Words:
    def __init__(self, stream: IO[str], top: int) -> None:
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
    def __init__(self, stream: IO[str]) -> None:
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
    def __init__(self, stream: IO[str], labels: Sequence[str]) -> None:
        import csv  # slow to import

        self._labels, self._stream, self._writer = labels, stream, csv.writer
        self._row("source", "first", "triage", "malignant_score", *labels, "model", "error")

    def answer(self, prediction: Prediction) -> None:
        scores = {score.label: f"{score.score:.6f}" for score in prediction.ranked}
        malignant = prediction.triage.malignant_score
        self._row(
            prediction.source["name"],
            prediction.top.label,
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
        row = io.StringIO()
        self._writer(row, lineterminator="\n").writerow(cells)
        _print(row.getvalue().removesuffix("\n"), self._stream)


def _print(text: str, stream: IO[str]) -> None:
    """Print and flush, so that a reader sees each answer when it is there, and a full disk is told at once."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror or error}") from error


class Keeper:
    """Files that were asked for: heat maps, and answers with their pictures. Nothing is overwritten."""

    def __init__(self, heatmaps: Path | None = None, records: Path | None = None) -> None:
        self.heatmaps, self.records = heatmaps, records
        self._taken: set[str] = set()
        for folder, ending in ((self.heatmaps, HEATMAP), (self.records, ".json"), (self.records, ".jpg")):
            if folder is not None:
                names = [path.name for path in folder.iterdir()]
                self._taken |= {name[: -len(ending)].casefold() for name in names if name.casefold().endswith(ending)}

    @property
    def keeps(self) -> bool:
        """Whether anything was asked for."""
        return self.heatmaps is not None or self.records is not None

    def keep(self, relative: str, prepared: Prepared, prediction: Prediction) -> None:
        """Write what was asked for about one picture."""
        if self.heatmaps is None and self.records is None:
            return
        name = unique_name(relative, self._taken)
        if self.heatmaps is not None:
            from spot_edge.heatmap import overlay_png

            write_whole(self.heatmaps / f"{name}{HEATMAP}", overlay_png(prepared, prediction))
        if self.records is not None:
            picture = io.BytesIO()
            prepared.picture.save(picture, "JPEG", quality=_JPEG_QUALITY)
            write_whole(self.records / f"{name}.jpg", picture.getvalue())
            record = json.dumps(prediction.as_dict(), indent=2)
            write_whole(self.records / f"{name}.json", f"{record}\n".encode())
