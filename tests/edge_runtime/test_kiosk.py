"""`spot-edge kiosk` with a folder as its camera: in a terminal, without one, and how it ends."""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX terminals")
if os.name == "posix":
    import fcntl
    import pty
    import struct
    import termios

# As a login shell would start it: in a session of its own, the terminal on standard input its own.
RUN = """
import fcntl, os, signal, sys, termios
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from spot_edge.cli import main
main(["kiosk", *sys.argv[1:]])
"""
CLEAR = b"\033[H\033[2J"
ANSWER = b"looks most like"


class Started:
    """The kiosk as a process, and what it has shown."""

    def __init__(self, process: subprocess.Popen[bytes], output: int, keys: int) -> None:
        self.process, self._output, self._keys, self.shown = process, output, keys, b""

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def until(self, words: bytes, count: int = 1) -> None:
        """Wait until `words` were shown `count` times in all."""
        end = time.monotonic() + 60
        while self.shown.count(words) < count:
            assert time.monotonic() < end, self.shown[-3000:].decode(errors="replace")
            self._read(0.5)

    def rest(self, seconds: float = 60) -> int:
        """The exit code, with all that was shown until the end."""
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
        except OSError:  # how Linux says that the other end of a terminal is closed
            found = b""
        self.shown += found
        return bool(found)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def begin(stack: ExitStack, arguments: tuple[object, ...], script: str = RUN, **streams: Any) -> Any:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment |= {"PYTHONUTF8": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


class Terminal(Started):
    """The kiosk in a terminal of its own."""

    def __init__(
        self, stack: ExitStack, *arguments: object, script: str = RUN, size: tuple[int, int] = (80, 24)
    ) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(*size)
        self.modes = termios.tcgetattr(self.theirs)
        process = begin(stack, arguments, script, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs)
        for end in (self.ours, self.theirs):
            stack.callback(_close, end)
        super().__init__(process, self.ours, self.ours)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def ended_well(self, code: int = 0) -> None:
        """Ended with `code`, the terminal as it was and its cursor shown."""
        assert self.rest() == code, self.shown[-3000:].decode(errors="replace")
        assert termios.tcgetattr(self.theirs) == self.modes
        assert b"Traceback" not in self.shown
        assert self.shown.count(b"\033[?25l") == self.shown.count(b"\033[?25h")


def _close(handle: int) -> None:
    with suppress(OSError):
        os.close(handle)


@pytest.fixture
def terminal(stack: ExitStack) -> Callable[..., Terminal]:
    """terminal(*arguments): the kiosk in a terminal."""
    return lambda *arguments, **options: Terminal(stack, *arguments, **options)


@pytest.fixture
def piped(stack: ExitStack) -> Callable[..., Started]:
    """piped(*arguments): the kiosk between two pipes."""

    def start(*arguments: object) -> Started:
        process = begin(stack, arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stack.enter_context(process)
        assert process.stdin
        assert process.stdout
        return Started(process, process.stdout.fileno(), process.stdin.fileno())

    return start


@pytest.fixture
def frames(tmp_path: Path, draw, encode) -> Path:
    """Two pictures."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, size in {"a.jpg": (120, 90), "b.jpg": (100, 80)}.items():
        (folder / name).write_bytes(encode(draw(*size), "JPEG"))
    return folder


def test_space_and_enter_take_pictures_and_q_ends(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    for count, key in enumerate([b" ", b"\r", b"\n"], 1):  # one more than there are pictures
        kiosk.press(b"x\033[A" + key)
        kiosk.until(ANSWER, count)
        kiosk.until(b"End: q.", count + 1)
    kiosk.press(b"q")
    kiosk.ended_well()
    screens = kiosk.shown.split(CLEAR)
    assert len(screens) == 1 + 1 + 3 * 2
    for taking, answer in zip(screens[2::2], screens[3::2], strict=True):
        assert b"Hold still: taking a picture." in taking
        assert ANSWER not in taking
        for words in (
            b"model score",
            b"triage",
            b"An aid for trained people, not a diagnosis.",
            b"Next: button, space",
        ):
            assert words in answer


def test_it_says_what_classify_says(terminal, frames: Path, spot_edge) -> None:
    said = spot_edge("classify", frames / "a.jpg").stdout.decode()
    kiosk = terminal(frames, size=(140, 40))
    kiosk.until(b"space or Enter")
    kiosk.press(b" ")
    kiosk.until(b"End: q.", 2)
    shown = " ".join(kiosk.shown.decode().split(CLEAR.decode())[-1].split())
    for line in said.split("\n\n")[0].splitlines()[1:3]:
        assert " ".join(line.split()) in shown
    assert " ".join(" ".join(said.splitlines()[3:]).split()) in shown


def test_pressing_twice_takes_one_picture(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(b"  \r ")
    kiosk.until(b"End: q.", 2)
    kiosk.press(b"q")
    kiosk.ended_well()
    assert kiosk.shown.count(ANSWER) == 1


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"Q"], ids=["ctrl-c", "ctrl-d", "Q"])
def test_keys_that_end_it(key: bytes, terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(key)
    kiosk.ended_well()


def test_keys_that_would_stop_a_program_or_its_screen_do_nothing(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(b"\x1a\x1c\x13 ")  # Ctrl-Z, Ctrl-\, Ctrl-S
    kiosk.until(ANSWER)
    kiosk.press(b"q")
    kiosk.ended_well()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("camera", ["frames", "none"])
def test_signals_end_it_well(number: signal.Signals, camera: str, terminal, frames: Path) -> None:
    kiosk = terminal(frames if camera == "frames" else "/dev/video-none")
    kiosk.until(b"space or Enter")
    kiosk.process.send_signal(number)
    kiosk.ended_well()


def test_a_terminal_that_is_closed_ends_it(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    os.close(kiosk.theirs)
    os.close(kiosk.ours)
    assert kiosk.process.wait(60) == 0


def test_a_camera_that_is_not_there_is_waited_for(terminal, frames: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    kiosk = terminal(later, size=(300, 24))  # however long the path, it is not broken
    kiosk.until(b"later: no such")
    kiosk.press(b" ")
    kiosk.until(b"No answer.")
    frames.rename(later)
    kiosk.press(b" ")
    kiosk.until(ANSWER)
    kiosk.press(b"q")
    kiosk.ended_well()


def test_what_waiting_will_not_mend_ends_it_with_9(terminal) -> None:
    kiosk = terminal("/dev/null")
    kiosk.ended_well(9)
    assert b"spot-edge: /dev/null: not a camera" in kiosk.shown


def test_a_model_that_is_refused_ends_it_with_4(terminal, frames: Path) -> None:
    terminal(frames, "--model", frames / "a.jpg").ended_well(4)


def test_a_picture_that_cannot_be_judged_is_told_and_the_next_one_is_judged(terminal, frames, draw, encode) -> None:
    (frames / "a.jpg").write_bytes(encode(draw(20, 20), "JPEG"))
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(b" ")
    kiosk.until(b"No answer.")
    kiosk.until(b"End: q.", 2)
    kiosk.press(b" ")
    kiosk.until(ANSWER)
    kiosk.press(b"q")
    kiosk.ended_well()


def test_another_size_is_drawn_anew(terminal) -> None:
    kiosk = terminal("/dev/video-none", size=(80, 24))
    kiosk.until(b"no such camera")
    kiosk.resize(40, 24)
    kiosk.until(b"space or Enter", 2)
    kiosk.until(b"plug\033[K")
    kiosk.press(b"q")
    kiosk.ended_well()
    lines = kiosk.shown.split(CLEAR)[-1].decode().split("\r\n")
    assert max(map(len, lines[:-2])) <= 40


def test_answers_and_pictures_are_kept_where_that_is_asked_for(terminal, frames: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "here"
    kiosk = terminal(frames, "--save", kept)
    kiosk.until(b"space or Enter")
    for count in (1, 2):
        kiosk.press(b" ")
        kiosk.until(b"End: q.", 1 + count)
    kiosk.press(b"q")
    kiosk.ended_well()
    assert sorted(path.suffix for path in kept.iterdir()) == [".jpg", ".jpg", ".json", ".json"]
    for path in kept.glob("*.json"):
        assert path.name.startswith("camera-20")
        assert json.loads(path.read_text())["source"]["camera"] == str(frames)
    assert {json.loads(path.read_text())["image"]["width"] for path in kept.glob("*.json")} == {120, 100}


FULL = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n{RUN}"


def test_an_answer_that_cannot_be_kept_is_shown_then_it_ends_with_6(terminal, frames: Path, tmp_path: Path) -> None:
    kiosk = terminal(frames, "--save", tmp_path / "kept", script=FULL)
    kiosk.until(b"space or Enter")
    kiosk.press(b" ")
    kiosk.ended_well(6)
    assert ANSWER in kiosk.shown
    assert b"cannot be written: File too large" in " ".join(kiosk.shown.decode().split()).encode()
    assert list((tmp_path / "kept").iterdir()) == []


def test_lines_take_pictures_where_there_is_no_terminal(piped, frames: Path) -> None:
    kiosk = piped(frames)
    kiosk.press(b"\nanything at all\n\nq\n\n")
    assert kiosk.rest() == 0
    assert kiosk.shown.count(ANSWER) == 3
    assert b"\033" not in kiosk.shown
    assert kiosk.process.stderr.read() == b""


def test_a_last_line_needs_no_end(piped, frames: Path) -> None:
    kiosk = piped(frames)
    kiosk.press(b"\nq")
    kiosk.process.stdin.close()
    assert kiosk.rest() == 0
    assert kiosk.shown.count(ANSWER) == 1


def test_after_the_end_of_its_input_it_waits_for_the_button(piped) -> None:
    kiosk = piped("/dev/video-none")
    kiosk.process.stdin.close()
    assert kiosk.process.stderr.readline() == (
        b"spot-edge: /dev/video-none: no such camera: plug it in, or see `spot-edge camera list`\n"
    )
    time.sleep(1.2)
    kiosk.process.send_signal(signal.SIGTERM)
    assert kiosk.rest() == 0
    assert kiosk.process.stderr.read() == b""


def test_a_reader_that_has_seen_enough_ends_it(piped, frames: Path) -> None:
    kiosk = piped(frames)
    kiosk.until(b"space or Enter")
    kiosk.process.stdout.close()
    kiosk.press(b"\n")
    assert kiosk.process.wait(60) == 0
    assert kiosk.process.stderr.read() == b""


MEASURED = f"""
import os, resource
leave = os._exit
def last(code):
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    leave(code)
os._exit = last
{RUN}"""


def test_hundreds_of_pictures_take_no_more_memory(stack: ExitStack, frames: Path) -> None:
    fast = platform.machine() in ("x86_64", "AMD64")  # elsewhere a picture may take a second, and an emulator grows too
    peaks = []
    for count in (40, 440) if fast else (20, 40):
        process = begin(stack, (frames,), MEASURED, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said, _ = process.communicate(b"\n" * count + b"q\n", timeout=300)
        assert said.count(ANSWER) == count
        peaks.append(int(said.split()[-1]) / (1 << 20 if sys.platform == "darwin" else 1 << 10))
    print(f"{peaks[0]:.1f} MB, then {peaks[1]:.1f} MB")
    assert peaks[1] - peaks[0] < (4 if fast else 16)


@pytest.mark.parametrize("arguments", [["--size", "big"], ["a", "b"], ["--threads", "1"]])
def test_a_wrong_command_line_ends_with_2(arguments: list[str], spot_edge) -> None:
    assert spot_edge("kiosk", *arguments).returncode == 2
