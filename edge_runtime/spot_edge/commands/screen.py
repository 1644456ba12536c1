"""A few words in letters as large as a terminal can show, to be read from afar.

A terminal as a screen: one text at a time, and a status below it. Where there is no terminal, the texts as lines.

The texts of the kiosk's screen, each for a given number of columns and lines."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TextIO, TypeAlias

import click

from spot_edge.errors import one_line
from spot_edge.prediction.prediction import Prediction
from spot_edge.prediction.wording import DISCLAIMER, answer

__all__ = ["Screen", "Text", "banner", "judged", "ready", "refused", "taking"]

_LETTERS = {
    "A": " ███ /█   █/█████/█   █/█   █",
    "C": " ████/█    /█    /█    / ████",
    "D": "████ /█   █/█   █/█   █/████ ",
    "E": "█████/█    /████ /█    /█████",
    "I": "█/█/█/█/█",
    "N": "█   █/██  █/█ █ █/█  ██/█   █",
    "O": " ███ /█   █/█   █/█   █/ ███ ",
    "R": "████ /█   █/████ /█  █ /█   █",
    "S": " ████/█    / ███ /    █/████ ",
    "T": "█████/  █  /  █  /  █  /  █  ",
    "U": "█   █/█   █/█   █/█   █/ ███ ",
    "V": "█   █/█   █/█   █/ █ █ /  █  ",
    "W": "█   █/█   █/█ █ █/██ ██/█   █",
    "Y": "█   █/ █ █ /  █  /  █  /  █  ",
}
_HEIGHT = 5
_HALVES = {"██": "█", "█ ": "▀", " █": "▄", "  ": " "}


def banner(words: str, width: int, *, small: bool = False) -> list[str]:
    """`words` in letters of five lines, or three where `small`, wrapped to `width`; nothing where they do not fit."""
    lines: list[list[str]] = []
    for word in words.upper().split():
        drawn = _draw(word)
        if len(drawn[0]) > width:
            return []
        if lines and len(lines[-1][0]) + 3 + len(drawn[0]) <= width:
            lines[-1] = [f"{left}   {right}" for left, right in zip(lines[-1], drawn, strict=True)]
        else:
            lines.append(drawn)
    rows = [row for line in lines for row in (_halved(line) if small else [*line, ""])]  # half a line is left below
    return [row.rstrip() for row in (rows if small else rows[:-1])]


def _draw(word: str) -> list[str]:
    letters = [_LETTERS[letter].split("/") for letter in word]
    return [" ".join(letter[row] for letter in letters) for row in range(_HEIGHT)]


def _halved(rows: list[str]) -> list[str]:
    """Two rows in each line, by half blocks."""
    rows = [*rows, " " * len(rows[0])]
    return [
        "".join(_HALVES[upper + lower] for upper, lower in zip(*rows[at : at + 2], strict=True))
        for at in range(0, len(rows), 2)
    ]


Text: TypeAlias = Callable[[int, int], list[str]]  # columns and lines to its lines; the latter 0 where there is no end

_STATUS_LINES = 2
_CLEAR, _HIDE, _SHOW = "\033[H\033[2J\033[3J", "\033[?25l", "\033[?25h"  # the whole terminal; its cursor
_LEFT = " "
_ASCII = str.maketrans({"█": "#", "▀": '"', "▄": ","})  # for terminals without block characters
_PAPER = 100  # columns where there is no terminal


class Screen:
    """What people in front of the device see. As a context it hides the terminal's cursor, and shows it again."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._blocks = "utf" in (self._stream.encoding or "").lower()
        self._size = (0, 0)
        self._text: Text = lambda columns, lines: []
        self._note = self._said = self._status = ""

    def __enter__(self) -> Screen:
        if self._terminal:
            self._write(_HIDE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._write(f"{_SHOW}\n")

    def show(self, text: Text) -> None:
        """Show `text` in place of all that was there, and again whenever the terminal has another size."""
        self._text, self._note = text, ""
        if self._terminal:
            self._draw()
        elif lines := text(_PAPER, 0):
            self._write("\n".join([*lines, "", ""]))

    def note(self, line: str) -> None:
        """What must be said once, below the text until the next one; where there is no terminal, on stderr."""
        self._note = one_line(line)
        if self._terminal:
            self._draw()
        else:
            _tell(self._note)

    def status(self, line: str) -> None:
        """What is to be seen below the text until the next one; nothing where there is no terminal."""
        self._said = ""
        if self._terminal:
            self._below(line)

    def trouble(self, line: str) -> None:
        """What is wrong at present: below the text, or, where there is no terminal, once on stderr."""
        line = one_line(line)
        if self._terminal:
            self._below(line)
        elif line != self._said:
            _tell(line)
        self._said = line

    def _draw(self) -> None:
        columns, rows = self._size = _size()
        note = ["", *textwrap.wrap(self._note, columns - 2)] if self._note else []
        lines = self._text(columns - 2, rows - _STATUS_LINES - len(note))
        self._status = ""
        self._write(_CLEAR + "\r\n".join(f"{_LEFT}{line}" for line in lines + note))

    def _below(self, line: str) -> None:
        if _size() != self._size:
            self._draw()
        if line == self._status:
            return
        self._status = line
        columns, rows = self._size
        lines = textwrap.wrap(line, columns - 2, max_lines=_STATUS_LINES, placeholder=" ...")
        lines = [""] * (_STATUS_LINES - len(lines)) + lines
        top = rows - _STATUS_LINES + 1
        self._write("".join(f"\033[{top + at};1H{_LEFT}{line}\033[K" for at, line in enumerate(lines)))

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text if self._blocks else text.translate(_ASCII))
            self._stream.flush()
        except OSError:
            if not self._terminal:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # or what is left would fail again
            raise KeyboardInterrupt from None  # a terminal that has gone; its SIGHUP may be on its way


def _tell(line: str) -> None:
    click.echo(f"spot-edge: {line}", err=True)


def _size() -> tuple[int, int]:
    """Columns and lines of the terminal, of which there are some even where it tells none."""
    columns, lines = shutil.get_terminal_size()
    return max(20, columns), max(6, lines)


_NEXT = "Next: button, space or Enter. End: q."


def ready(model: str) -> Text:
    """What is to be seen before the first picture."""

    def text(columns: int, lines: int) -> list[str]:
        said = f"Model {model}. Hold the dermatoscope still on the lesion, then press its button, space or Enter."
        return _fit("ready", columns, lines, [[*_wrap(columns, said), "", *_wrap(columns, DISCLAIMER, "End: q.")]])

    return text


def taking(columns: int, lines: int) -> list[str]:
    """What is to be seen while a picture is taken and judged: nothing of the answer before."""
    return _wrap(columns, "Hold still: taking a picture.") if lines else []


def judged(prediction: Prediction) -> Text:
    """The answer: how urgent in large letters, then all that `spot-edge classify` says."""
    time_of_day = time.strftime("%H:%M:%S", time.localtime(prediction.source["captured_at"]))
    origin = one_line(f"Picture taken at {time_of_day} by {prediction.source['camera']}")

    def text(columns: int, lines: int) -> list[str]:
        taken, end = _wrap(columns, origin), _wrap(columns, DISCLAIMER)
        two = answer(prediction, 2, columns)
        no_set = replace(prediction, prediction_set=None)  # nor this, nor a note must push the disclaimer out
        few, one = (answer(no_set, top, columns) for top in (2, 1))
        bare = answer(no_set, 2 if prediction.near_tie else 1, columns, notes=False)
        following = _wrap(columns, _NEXT)
        bodies = [
            [*taken, *two, "", *end, "", *following],
            [*taken, *two, *end, *following],
            [*taken, *few, *end, *following],
            [*two, *end, *following],
            [*few, *end, *following],
            [*one, *end, *following],
            [*bare, *end, *following],
        ]
        return _fit(prediction.triage.category, columns, lines, bodies)

    return text


def refused(reason: str) -> Text:
    """Why there is no answer."""

    def text(columns: int, lines: int) -> list[str]:
        return [*_wrap(columns, "No answer.", one_line(reason)), "", *_wrap(columns, _NEXT)]

    return text


def _fit(title: str, columns: int, lines: int, bodies: list[list[str]]) -> list[str]:
    """The first of `bodies` that has room, below the largest title that has room with it; where none has room with the
    whole body but the last, no title."""
    if not lines:
        return bodies[0]
    titles = [[*large, ""] if (large := banner(title, columns)) else [], banner(title, columns, small=True)]
    for head, body in [(head, body) for body in bodies[:5] for head in titles if head] + [([], b) for b in bodies]:
        if len(head) + len(body) <= lines:
            return head + body
    return [*bodies[-1][: lines - 1], "(screen too small for the rest)"]


def _wrap(columns: int, *texts: str) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, columns)]
