"""Keyboard input of the kiosk: single keys from a terminal, lines from anything else."""

from __future__ import annotations

import os
import select
from types import TracebackType
from typing import Any, Literal, TypeAlias

__all__ = ["Action", "Keys"]

Action: TypeAlias = Literal["take", "end"]

_TAKE, _END = b" \r\n", b"qQ\x04"  # \x04: Ctrl-D
_LONGEST = 16  # bytes of a line that count


class Keys:
    """Actions from `handle`. In a terminal, space or Enter takes a picture and q quits. Otherwise each line takes a
    picture, and the line "q" quits. As a context manager it switches the terminal to single keys, and back."""

    def __init__(self, handle: int) -> None:
        self._handle, self._terminal, self._ended = handle, os.isatty(handle), False
        self._modes: list[Any] | None = None
        self._actions: list[Action] = []
        self._line = b""

    def __enter__(self) -> Keys:
        if self._terminal:
            import termios

            self._modes = termios.tcgetattr(self._handle)
            modes = termios.tcgetattr(self._handle)
            modes[0] &= ~termios.IXON  # Ctrl-S would stop the screen, and with it the program
            modes[3] &= ~(termios.ICANON | termios.ECHO)
            modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
            for key in (termios.VQUIT, termios.VSUSP):  # these would leave the terminal in this mode
                modes[6][key] = bytes([os.fpathconf(self._handle, "PC_VDISABLE") & 255])
            termios.tcsetattr(self._handle, termios.TCSANOW, modes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._modes is not None:
            import termios

            try:
                termios.tcsetattr(self._handle, termios.TCSANOW, self._modes)
                termios.tcflush(self._handle, termios.TCIFLUSH)
            except termios.error:  # the terminal was closed
                pass

    @property
    def handles(self) -> list[int]:
        """The handles to wait for. None after the end of the input."""
        return [] if self._ended else [self._handle]

    def next(self) -> Action | None:
        """The next action, without waiting."""
        if not self._actions:
            self._read()
        return self._actions.pop(0) if self._actions else None

    def forget(self) -> None:
        """Drop keys pressed so far, except one that quits. Lines are kept."""
        if self._terminal:
            self._read()
            self._actions = [action for action in self._actions if action == "end"]

    def _read(self) -> None:
        if not select.select(self.handles, [], [], 0)[0]:
            return
        try:
            data = os.read(self._handle, 4096)
        except OSError:  # the terminal was closed
            data = b""
        self._ended = not data
        if self._terminal:
            self._actions += _of_keys(data or b"q")
            return
        rest = b"\n" if self._ended and self._line else b""  # the last line may have no line break
        *lines, line = (self._line + data + rest).split(b"\n")
        self._actions += ["end" if line.strip().lower() == b"q" else "take" for line in lines]
        self._line = line[:_LONGEST]


def _of_keys(data: bytes) -> list[Action]:
    return ["take" if key in _TAKE else "end" for key in data if key in _TAKE + _END]
