"""SIGTERM and SIGHUP during the work: a prompt end, a documented exit code, and no incomplete file."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(os.name != "posix", reason="NOT RUN: signals of POSIX")

INTERRUPTED = (130, [b"interrupted"])
# A signal at two moments: where Python drops the exception of its handler, and where Python replaces it.
LOST = """
import os, signal, weakref
from spot_edge.commands import records
class Passing: pass
def unique_name(relative, taken, real=records.unique_name):
    passing = Passing()
    watched = weakref.ref(passing, lambda gone: os.kill(os.getpid(), signal.SIGTERM))
    del passing
    return real(relative, taken)
records.unique_name = unique_name
"""
CHANGED = """
import os, signal
from spot_edge.commands import records
class Named:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)
def unique_name(relative, taken):
    class Owner:
        named = Named()
records.unique_name = unique_name
"""


def small_pipe() -> tuple[int, int]:
    """A pipe with a small buffer: its writer waits until somebody reads."""
    ours, theirs = os.pipe()
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    return ours, theirs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [0, 1, 7])
def test_saved_files_are_complete_after_a_signal(
    number: signal.Signals, after: int, many, start, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    running = start("classify", *many, "--json", "--save", kept, "--heatmap", kept)
    for _ in range(after):
        assert running.stdout.readline()
    while not kept.exists():
        assert running.poll() is None
        time.sleep(0.001)
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr.split()) == INTERRUPTED
    assert all(json.loads(line) for line in stdout.splitlines())
    assert not [path for path in kept.iterdir() if path.name.startswith(".")]
    records = list(kept.glob("*.json"))
    assert after <= len(records) < len(many)
    for record in records:
        json.loads(record.read_text())
        for picture in (record.with_suffix(".jpg"), record.with_suffix(".heatmap.png")):
            with Image.open(picture) as image:
                image.load()


def test_a_slow_reader_does_not_delay_the_end(many, start) -> None:
    ours, theirs = small_pipe()
    running = start("classify", *many, "--json", stdout=theirs)
    os.close(theirs)
    assert os.read(ours, 1) == b"{"
    running.send_signal(signal.SIGTERM)
    assert (running.wait(60), running.stderr.read().split()) == INTERRUPTED
    os.close(ours)


@pytest.mark.parametrize("moment", [LOST, CHANGED], ids=["lost", "changed"])
def test_a_signal_at_any_moment_ends_it(moment: str, many, start, tmp_path: Path) -> None:
    running = start("classify", *many, "--save", tmp_path / "kept", before=moment)
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr.split()) == INTERRUPTED
    assert len(list((tmp_path / "kept").glob("*.json"))) < len(many)


def test_a_second_signal_while_a_lost_one_is_handled(second_signal: str, many, start, tmp_path: Path) -> None:
    running = start("classify", *many, "--save", tmp_path / "kept", before=LOST + second_signal)
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr.split()) == INTERRUPTED


def test_a_second_signal_during_the_message_changes_nothing(many, start) -> None:
    again = """
import click, os, signal
def echo(message=None, real=click.echo, **options):
    if message == "interrupted":
        os.kill(os.getpid(), signal.SIGTERM)
    real(message, **options)
click.echo = echo
"""
    running = start("classify", *many, "--json", before=again)
    assert running.stdout.readline()
    running.send_signal(signal.SIGTERM)
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr.split()) == INTERRUPTED


def test_a_signal_at_exit_ends_it_at_once(start) -> None:
    """While Python shuts down, when a handler can no longer raise an exception."""
    late = "import atexit, os, signal; atexit.register(os.kill, os.getpid(), signal.SIGTERM)"
    running = start("--version", before=late)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr) == (-signal.SIGTERM, b"")
    assert stdout.startswith(b"spot-edge, version ")


def test_a_closed_pipe_hides_no_failure(start, lesion: bytes, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.png").write_bytes(b"no image")
    (tmp_path / "scans" / "b.png").write_bytes(lesion)
    ours, theirs = os.pipe()
    os.close(ours)  # before the process starts, so that its first line finds no reader
    running = start("classify", tmp_path / "scans", "--json", "--save", tmp_path / "kept", stdout=theirs)
    os.close(theirs)
    stderr = running.stderr.read().decode()
    assert running.wait(60) == 3
    assert "a.png: " in stderr
    assert "1 of 2 images could not be classified" in stderr
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["b.jpg", "b.json"]


def test_an_ignored_hangup_stays_ignored(many, start) -> None:
    running = start("classify", *many, "--json", before="import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    assert running.stdout.readline()
    running.send_signal(signal.SIGHUP)
    stdout, stderr = running.communicate(timeout=120)
    assert (running.returncode, stderr) == (0, b"")
    assert len(stdout.splitlines()) == len(many) - 1


@pytest.mark.parametrize("arguments", [["classify", "--camera"], ["camera", "capture"], ["camera", "preview"]])
def test_the_camera_is_closed(arguments: list[str], start, tmp_path: Path) -> None:
    """The camera waits for its first frame when the signal comes.

    It waits in short steps: Python handles a signal that comes just before `time.sleep` only after it.
    """
    silent = """
import time
from spot_edge.camera.camera import Camera
def wait(self):
    print("waits", flush=True)
    while True:
        time.sleep(0.1)
Camera.__next__ = wait
Camera.close = lambda self: print("closed", flush=True)
"""
    running = start(*arguments, tmp_path, before=silent)
    assert running.stdout.readline() == b"waits\n"
    running.send_signal(signal.SIGTERM)
    stdout, stderr = running.communicate(timeout=60)
    assert stdout == b"closed\n"
    preview = arguments[-1] == "preview"  # which runs until it is interrupted
    assert (running.returncode, stderr.split()) == ((0, []) if preview else INTERRUPTED)


def test_the_subprocess_of_the_doctor_ends_with_it(start, tmp_path: Path) -> None:
    (tmp_path / "ai_edge_litert").mkdir()
    script = "import time\nheld = open('held', 'w')\ntime.sleep(99)"
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text(script)
    os.mkfifo(tmp_path / "held")
    path = os.pathsep.join([str(tmp_path), *map(os.path.abspath, filter(None, sys.path))])
    running = start("doctor", env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path)
    with open(tmp_path / "held", "rb") as held:  # returns once the child has opened it too
        running.send_signal(signal.SIGTERM)
        stdout, stderr = running.communicate(timeout=60)
        assert (running.returncode, stderr.split(), stdout) == (*INTERRUPTED, b"")
        assert select.select([held], [], [], 30)[0], "the child still runs"
        assert held.read() == b""
