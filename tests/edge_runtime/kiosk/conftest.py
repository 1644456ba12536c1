"""`spot-edge kiosk` as a process: in its own terminal, or between pipes.

A test fails if what it waits for does not appear within a minute.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

if os.name == "posix":
    import fcntl
    import pty
    import struct
    import termios

# Start the kiosk as a login shell does: in its own session, with the terminal on standard input, and no signal ignored.
SIGNALS = """
import signal
for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    signal.signal(number, handler)
"""
RUN = """
import fcntl, os, sys, termios
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from spot_edge.cli import main
main(["kiosk", *sys.argv[1:]])
"""


class Started:
    """The kiosk as a process, and its output so far."""

    def __init__(self, process: subprocess.Popen[bytes], output: int, keys: int) -> None:
        self.process, self._output, self._keys, self.shown = process, output, keys, b""

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def until(self, words: bytes, count: int = 1) -> None:
        """Wait until `words` have been shown `count` times in all."""
        end = time.monotonic() + 60
        while self.shown.count(words) < count:
            assert time.monotonic() < end, self.shown[-3000:].decode(errors="replace")
            self._read(0.5)

    def finish(self, seconds: float = 60) -> int:
        """Wait for the end, read the remaining output, and return the exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, self.shown[-3000:].decode(errors="replace")
            self._read(0.1)
        while self._read(0.0):
            pass
        return self.process.wait()

    def _read(self, seconds: float) -> bool:
        if not select.select([self._output], [], [], seconds)[0]:
            return False
        try:
            found = os.read(self._output, 65536)
        except OSError:  # Linux reports a closed terminal as an error
            found = b""
        self.shown += found
        return bool(found)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _begin(stack: ExitStack, arguments: tuple[object, ...], before: str, **streams: Any) -> Any:
    """Start the kiosk in a process that first runs the lines of Python in `before`."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-c", SIGNALS + before + RUN, *map(str, arguments)]
    environment |= {"PYTHONUTF8": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


class Terminal(Started):
    """The kiosk in its own terminal."""

    def __init__(
        self, stack: ExitStack, *arguments: object, before: str = "", size: tuple[int, int] = (80, 24)
    ) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(*size)
        self.modes = termios.tcgetattr(self.theirs)
        process = _begin(stack, arguments, before, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs)
        for end in (self.ours, self.theirs):
            stack.callback(_close, end)
        super().__init__(process, self.ours, self.ours)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def exit_code(self) -> int:
        """Wait for the end and return the exit code. The terminal must be restored and its cursor visible."""
        code = self.finish()
        assert termios.tcgetattr(self.theirs) == self.modes
        assert b"Traceback" not in self.shown
        assert self.shown.count(b"\033[?25l") == self.shown.count(b"\033[?25h")
        return code


def _close(handle: int) -> None:
    with suppress(OSError):
        os.close(handle)


@pytest.fixture
def terminal(stack: ExitStack) -> Callable[..., Terminal]:
    """terminal(*arguments, before, size): the kiosk in a terminal."""
    return lambda *arguments, **options: Terminal(stack, *arguments, **options)


@pytest.fixture
def piped(stack: ExitStack) -> Callable[..., Started]:
    """piped(*arguments): the kiosk between pipes."""

    def start(*arguments: object, before: str = "") -> Started:
        process = _begin(
            stack, arguments, before, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        stack.enter_context(process)
        stack.callback(process.kill)  # first: leaving the stack waits for the process
        assert process.stdin
        assert process.stdout
        return Started(process, process.stdout.fileno(), process.stdin.fileno())

    return start


@pytest.fixture
def frames(tmp_path: Path, draw, encode) -> Path:
    """A folder with two images."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, size in {"a.jpg": (120, 90), "b.jpg": (100, 80)}.items():
        (folder / name).write_bytes(encode(draw(*size), "JPEG"))
    return folder
