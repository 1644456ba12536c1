"""A terminal as a screen: one text at a time, and a status below it. Where there is no terminal, the texts as lines."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from types import TracebackType
from typing import TextIO, TypeAlias

import click

from spot_edge.errors import one_line

__all__ = ["Screen", "Text"]

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
