"""Standard input as a switch: at a terminal single keys, elsewhere lines."""

from __future__ import annotations

import os
import select
from types import TracebackType
from typing import Any, Literal, TypeAlias

__all__ = ["Keys", "Wish"]

Wish: TypeAlias = Literal["take", "end"]

_TAKE, _END = b" \r\n", b"qQ\x04"  # \x04: Ctrl-D
_LONGEST = 16  # bytes of a line that are looked at


class Keys:
    """What is wished for at `handle`. At a terminal space or Enter takes a picture and q ends; elsewhere a line takes
    one, and a line "q" ends. As a context it has the terminal give each key at once, and restores it."""

    def __init__(self, handle: int) -> None:
        self._handle, self._terminal, self._ended = handle, os.isatty(handle), False
        self._modes: list[Any] | None = None
        self._wishes: list[Wish] = []
        self._line = b""

    def __enter__(self) -> Keys:
        if self._terminal:
            import termios

            self._modes = termios.tcgetattr(self._handle)
            modes = termios.tcgetattr(self._handle)
            modes[0] &= ~termios.IXON  # Ctrl-S would hold the screen, and with it the program, for ever
            modes[3] &= ~(termios.ICANON | termios.ECHO)
            modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
            for key in (termios.VQUIT, termios.VSUSP):  # these would leave the terminal as it is now
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
            except termios.error:  # the terminal has gone
                pass

    @property
    def handles(self) -> list[int]:
        """What to wait for: nothing after the end of the input."""
        return [] if self._ended else [self._handle]

    def next(self) -> Wish | None:
        """The next wish that is there already."""
        if not self._wishes:
            self._read()
        return self._wishes.pop(0) if self._wishes else None

    def forget(self) -> None:
        """Drop the keys that were pressed until now, but not the wish to end; lines were all meant."""
        if self._terminal:
            self._read()
            self._wishes = [wish for wish in self._wishes if wish == "end"]

    def _read(self) -> None:
        if not select.select(self.handles, [], [], 0)[0]:
            return
        try:
            data = os.read(self._handle, 4096)
        except OSError:  # a terminal that was closed
            data = b""
        self._ended = not data
        if self._terminal:
            self._wishes += _of_keys(data or b"q")
            return
        rest = b"\n" if self._ended and self._line else b""  # the last line may lack its end
        *lines, line = (self._line + data + rest).split(b"\n")
        self._wishes += ["end" if line.strip().lower() == b"q" else "take" for line in lines]
        self._line = line[:_LONGEST]


def _of_keys(data: bytes) -> list[Wish]:
    return ["take" if key in _TAKE else "end" for key in data if key in _TAKE + _END]
