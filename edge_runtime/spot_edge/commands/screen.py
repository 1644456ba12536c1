"""The kiosk's screen: large letters that can be read from afar, one text at a time, and a status line below it.

Without a terminal, the texts are printed as lines.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TextIO, TypeAlias

import click

from spot_edge.errors import one_line
from spot_edge.prediction.prediction import Prediction
from spot_edge.prediction.wording import disclaimer, prediction_lines, time_of_day

__all__ = ["Screen", "Text", "banner", "capturing_text", "error_text", "ready_text", "result_text"]

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
    """`words` in letters five lines high (three if `small`), wrapped to `width`. Empty if they do not fit."""
    lines: list[list[str]] = []
    for word in words.upper().split():
        drawn = _draw(word)
        if len(drawn[0]) > width:
            return []
        if lines and len(lines[-1][0]) + 3 + len(drawn[0]) <= width:
            lines[-1] = [f"{left}   {right}" for left, right in zip(lines[-1], drawn, strict=True)]
        else:
            lines.append(drawn)
    rows = [row for line in lines for row in (_halved(line) if small else [*line, ""])]
    return [row.rstrip() for row in (rows if small else rows[:-1])]


def _draw(word: str) -> list[str]:
    letters = [_LETTERS[letter].split("/") for letter in word]
    return [" ".join(letter[row] for letter in letters) for row in range(_HEIGHT)]


def _halved(rows: list[str]) -> list[str]:
    """Two rows in each line, drawn with half blocks."""
    rows = [*rows, " " * len(rows[0])]
    return [
        "".join(_HALVES[upper + lower] for upper, lower in zip(*rows[at : at + 2], strict=True))
        for at in range(0, len(rows), 2)
    ]


# From columns and lines (0: unlimited) to the lines to show.
Text: TypeAlias = Callable[[int, int], list[str]]

_STATUS_LINES = 2
_CLEAR, _HIDE, _SHOW = "\033[H\033[2J\033[3J", "\033[?25l", "\033[?25h"  # the terminal, its cursor
_LEFT = " "
_ASCII = str.maketrans({"█": "#", "▀": '"', "▄": ","})  # for terminals without block characters
_PAPER = 100  # columns without a terminal


class Screen:
    """What people in front of the device see. As a context manager it hides the terminal's cursor."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._blocks = "utf" in (self._stream.encoding or "").lower()
        self._size = (0, 0)
        self._text: Text = lambda columns, lines: []
        self._note = self._trouble = self._status = ""

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
        """Replace the screen by `text`, and draw it again whenever the terminal changes its size."""
        self._text, self._note = text, ""
        if self._terminal:
            self._draw()
        elif lines := text(_PAPER, 0):
            self._write("\n".join([*lines, "", ""]))

    def note(self, line: str) -> None:
        """Show a note below the current text. Without a terminal, print it to stderr."""
        self._note = one_line(line)
        if self._terminal:
            self._draw()
        else:
            _print_error(self._note)

    def status(self, line: str) -> None:
        """Show the status below the current text. Without a terminal, do nothing."""
        self._trouble = ""
        if self._terminal:
            self._below(line)

    def trouble(self, line: str) -> None:
        """Show a current problem below the text. Without a terminal, print it to stderr once."""
        line = one_line(line)
        if self._terminal:
            self._below(line)
        elif line != self._trouble:
            _print_error(line)
        self._trouble = line

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
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise KeyboardInterrupt from None  # the terminal was closed; SIGHUP may follow


def _print_error(line: str) -> None:
    click.echo(f"spot-edge: {line}", err=True)


def _size() -> tuple[int, int]:
    """Columns and lines of the terminal, with a minimum for one that reports no size."""
    columns, lines = shutil.get_terminal_size()
    return max(20, columns), max(6, lines)


_NEXT = "Next: button, space or Enter. Quit: q."


def ready_text(model: str, *, medical: bool) -> Text:
    """The screen before the first picture."""
    target = "Hold the dermatoscope still on the lesion" if medical else "Hold the camera still"

    def text(columns: int, lines: int) -> list[str]:
        hint = _wrap(columns, f"Model {model}. {target}, then press its button, space or Enter.")
        return _fit("ready", columns, lines, [[*hint, "", *_wrap(columns, disclaimer(medical=medical), "Quit: q.")]])

    return text


def capturing_text(columns: int, lines: int) -> list[str]:
    """The screen while a picture is taken and classified, without the previous result."""
    return _wrap(columns, "Hold still: taking a picture.") if lines else []


def result_text(prediction: Prediction) -> Text:
    """The result: the triage category in large letters, then what `spot-edge classify` prints."""
    origin = one_line(f"Picture taken at {time_of_day(prediction.source)} by {prediction.source['camera']}")

    triage = prediction.triage
    title = triage.category if triage else "cannot assess" if prediction.abstained else ""

    def text(columns: int, lines: int) -> list[str]:
        taken, end = _wrap(columns, origin), _wrap(columns, disclaimer(medical=triage is not None))
        two = prediction_lines(prediction, 2, columns)
        no_set = replace(prediction, prediction_set=None)  # the disclaimer has priority over this and over notes
        few, one = (prediction_lines(no_set, top, columns) for top in (2, 1))
        bare = prediction_lines(no_set, 2 if prediction.near_tie else 1, columns, notes=False)
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
        return _fit(title, columns, lines, bodies)

    return text


def error_text(reason: str) -> Text:
    """The screen after a picture that could not be taken or classified."""

    def text(columns: int, lines: int) -> list[str]:
        return [*_wrap(columns, "No result.", one_line(reason)), "", *_wrap(columns, _NEXT)]

    return text


def _fit(title: str, columns: int, lines: int, bodies: list[list[str]]) -> list[str]:
    """The first of `bodies` that fits below a title, with the largest title that fits, or else without a title."""
    if not lines:
        return bodies[0]
    titles = [[*large, ""] if (large := banner(title, columns)) else [], banner(title, columns, small=True)]
    for head, body in [(head, body) for body in bodies[:5] for head in titles if head] + [([], b) for b in bodies]:
        if len(head) + len(body) <= lines:
            return head + body
    return [*bodies[-1][: lines - 1], "(screen too small for the rest)"]


def _wrap(columns: int, *texts: str) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, columns)]
