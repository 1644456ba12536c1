"""The kiosk with a standard input that is not a terminal, and a folder as its camera."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="NOT RUN: POSIX terminals")
RESULT = b"looks most like"


def test_each_line_takes_an_image_without_a_terminal(piped, frames: Path) -> None:
    kiosk = piped(frames)
    kiosk.press(b"\nanything at all\n\nq\n\n")
    assert kiosk.finish() == 0
    assert kiosk.shown.count(RESULT) == 3
    assert b"\033" not in kiosk.shown
    assert kiosk.process.stderr.read() == b""


def test_a_line_may_take_a_burst(piped, frames: Path, tmp_path: Path) -> None:
    kiosk = piped(frames, "--burst", "2", "--save", tmp_path / "kept")
    kiosk.press(b"\n\nq\n")
    assert kiosk.finish() == 0
    assert kiosk.shown.count(b"Picture taken at") == 2  # the second time from the start of the folder
    assert kiosk.process.stderr.read() == b""
    records = [json.loads(path.read_text()) for path in (tmp_path / "kept").glob("*.json")]
    assert [(record["burst"]["frames"], record["source"]["camera"]) for record in records] == [(2, str(frames))] * 2
    assert len(list((tmp_path / "kept").glob("*.jpg"))) == 2


def test_the_last_line_needs_no_newline(piped, frames: Path) -> None:
    kiosk = piped(frames)
    kiosk.press(b"\nq")
    kiosk.process.stdin.close()
    assert kiosk.finish() == 0
    assert kiosk.shown.count(RESULT) == 1


WAITS = """
import select, sys
wait = select.select
def shown(reading, *others):
    if not reading:
        print("waits without input", file=sys.stderr, flush=True)
    return wait(reading, *others)
select.select = shown
"""


def test_after_the_end_of_its_input_it_waits_for_the_button(piped) -> None:
    kiosk = piped("/dev/video-none", before=WAITS)
    kiosk.process.stdin.close()
    missing = b"spot-edge: /dev/video-none: no such camera: plug it in, or see `spot-edge camera list`\n"
    lines = [kiosk.process.stderr.readline() for _ in range(5)]
    assert sorted(lines) == [missing, *[b"waits without input\n"] * 4]
    kiosk.process.send_signal(signal.SIGTERM)
    assert kiosk.finish() == 0
    assert set(kiosk.process.stderr.read().splitlines()) <= {b"waits without input"}


def test_it_ends_when_its_reader_closes(piped, frames: Path) -> None:
    kiosk = piped(frames)
    kiosk.until(b"space or Enter")
    kiosk.process.stdout.close()
    kiosk.press(b"\n")
    assert kiosk.process.wait(60) == 0
    assert kiosk.process.stderr.read() == b""


MEASURED = """
import os
leave = os._exit
def last(code):
    print(peak(), flush=True)
    leave(code)
os._exit = last
"""


def test_hundreds_of_images_take_no_more_memory(piped, frames: Path, peak: str) -> None:
    fast = platform.machine() in ("x86_64", "AMD64")  # others may take a second an image, and emulators grow too
    peaks = []
    for count in (40, 440) if fast else (20, 60):
        output, _ = piped(frames, before=peak + MEASURED).process.communicate(b"\n" * count + b"q\n", timeout=300)
        assert output.count(RESULT) == count
        peaks.append(int(output.split()[-1]) / 1024)
    print(f"{peaks[0]:.1f} MB, then {peaks[1]:.1f} MB")
    assert peaks[1] - peaks[0] < 16  # the tensors of 400 images are 44 MB


@pytest.mark.parametrize("arguments", [["--size", "big"], ["a", "b"], ["--threads", "1"]])
def test_a_wrong_command_line_exits_with_2(arguments: list[str], spot_edge) -> None:
    assert spot_edge("kiosk", *arguments).returncode == 2


# Lines of Python that make a function fail the first time.
ONCE = """
import {module} as module
whole = module.{name}
def once(*arguments, **options):
    module.{name} = whole
    raise {error}
module.{name} = once
"""


@pytest.mark.parametrize(
    ("error", "said"), [("MemoryError", b"not enough memory"), ("KeyError('odd')", b"a bug in spot-edge (KeyError")]
)
@pytest.mark.parametrize("burst", [(), ("--burst", "2")])
def test_whatever_happens_to_a_picture_the_next_one_works(error, said, burst, piped, frames: Path, tmp_path) -> None:
    before = ONCE.format(module="spot_edge.image.tensor", name="to_tensor", error=error)
    before += f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}\n"  # for the log
    kiosk = piped(frames, *burst, "--save", tmp_path / "kept", before=before)
    kiosk.press(b"\n\nq\n")
    assert kiosk.finish() == 0
    assert said in b" ".join(kiosk.shown.split())
    assert (kiosk.shown.count(b"No result."), kiosk.shown.count(b"Picture taken at")) == (1, 1)
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_result_that_cannot_be_made_is_reported_and_the_next_one_is_saved(piped, frames: Path, tmp_path) -> None:
    before = ONCE.format(module="spot_edge.commands.records", name="ResultFiles.results", error="MemoryError")
    kiosk = piped(frames, "--save", tmp_path / "kept", before=before)
    kiosk.press(b"\n\nq\n")
    assert kiosk.finish() == 0
    assert kiosk.shown.count(b"Picture taken at") == 2
    assert b"not saved: the picture: not enough memory" in kiosk.process.stderr.read()
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_two_kiosks_in_one_second_mix_up_nothing(piped, frames: Path, tmp_path) -> None:
    """Both have listed the folder before either saves, and their pictures have the same name."""
    before = "import time; time.strftime = lambda *_: 'camera-20260101-120000'\n"
    kept = tmp_path / "kept"
    kiosks = [piped(frames, "--save", kept, before=before) for _ in range(2)]
    for kiosk in kiosks:
        kiosk.until(b"then press")
    for kiosk in kiosks:
        kiosk.press(b"\n\nq\n")
    assert [kiosk.finish() for kiosk in kiosks] == [0, 0]
    assert len(list(kept.iterdir())) == 8
    for path in kept.glob("*.json"):
        digest = hashlib.sha256(path.with_suffix(".jpg").read_bytes()).hexdigest()
        assert json.loads(path.read_text())["saved_image_sha256"] == digest
