"""The kiosk in a terminal, with a folder as its camera: its keys, its screen, and its exit."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="POSIX terminals")
CLEAR = b"\033[H\033[2J"
RESULT = b"looks most like"
# A signal at two moments: where Python drops the exception of its handler, and where Python replaces it.
LOST = """
import os, signal, weakref
from spot_edge.camera.camera import Camera
class Passing: pass
def skip(self):
    passing = Passing()
    watched = weakref.ref(passing, lambda gone: os.kill(os.getpid(), signal.SIGTERM))
    del passing
    return False
Camera.skip = skip
"""
CHANGED = """
import os, signal
from spot_edge.camera.camera import Camera
class Named:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGTERM)
def skip(self):
    class Owner:
        named = Named()
    return False
Camera.skip = skip
"""
FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"


def test_space_and_enter_take_images_and_q_quits(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    for count, key in enumerate([b" ", b"\r", b"\n"], 1):  # one more than there are images
        kiosk.press(b"x\033[A" + key)
        kiosk.until(RESULT, count)
        kiosk.until(b"Quit: q.", count + 1)
    kiosk.press(b"q")
    assert kiosk.exit_code() == 0
    screens = kiosk.shown.split(CLEAR)
    assert len(screens) == 1 + 1 + 3 * 2
    for taking, result in zip(screens[2::2], screens[3::2], strict=True):
        assert b"Hold still: taking a picture." in taking
        assert RESULT not in taking
        for words in (
            b"model score",
            b"triage",
            b"An aid for trained people, not a diagnosis.",
            b"Next: button, space",
        ):
            assert words in result


def test_it_shows_the_same_text_as_classify(terminal, frames: Path, spot_edge) -> None:
    expected = spot_edge("classify", frames / "a.jpg").stdout.decode()
    kiosk = terminal(frames, size=(140, 40))
    kiosk.until(b"space or Enter")
    kiosk.press(b" ")
    kiosk.until(b"Quit: q.", 2)
    shown = " ".join(kiosk.shown.decode().split(CLEAR.decode())[-1].split())
    for line in expected.split("\n\n")[0].splitlines()[1:3]:
        assert " ".join(line.split()) in shown
    assert " ".join(" ".join(expected.splitlines()[3:]).split()) in shown


def test_pressing_twice_takes_one_image(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(b"  \r ")
    kiosk.until(b"Quit: q.", 2)
    kiosk.press(b"q")
    assert kiosk.exit_code() == 0
    assert kiosk.shown.count(RESULT) == 1


@pytest.mark.parametrize("key", [b"\x03", b"\x04", b"Q"], ids=["ctrl-c", "ctrl-d", "Q"])
def test_keys_that_quit(key: bytes, terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(key)
    assert kiosk.exit_code() == 0


def test_keys_that_usually_suspend_a_program_do_nothing(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(b"\x1a\x1c\x13 ")  # Ctrl-Z, Ctrl-\, Ctrl-S
    kiosk.until(RESULT)
    kiosk.press(b"q")
    assert kiosk.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("camera", ["frames", "none"])
def test_signals_end_it_cleanly(number: signal.Signals, camera: str, terminal, frames: Path) -> None:
    kiosk = terminal(frames if camera == "frames" else "/dev/video-none")
    kiosk.until(b"space or Enter")
    kiosk.process.send_signal(number)
    assert kiosk.exit_code() == 0


@pytest.mark.parametrize("moment", [LOST, CHANGED], ids=["lost", "changed"])
def test_a_signal_at_any_moment_ends_it_cleanly(moment: str, terminal, frames: Path) -> None:
    kiosk = terminal(frames, before=moment)
    assert kiosk.exit_code() == 0
    assert b"space or Enter" in kiosk.shown
    assert b"Exception" not in kiosk.shown


def test_a_second_signal_while_a_lost_one_is_handled(second_signal: str, terminal, frames: Path) -> None:
    kiosk = terminal(frames, before=LOST + second_signal)
    assert kiosk.exit_code() == 0
    assert b"Exception" not in kiosk.shown


def test_it_ends_when_its_terminal_closes(terminal, frames: Path) -> None:
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    os.close(kiosk.theirs)
    os.close(kiosk.ours)
    assert kiosk.process.wait(60) == 0


def test_it_waits_for_a_missing_camera(terminal, frames: Path, tmp_path: Path) -> None:
    later = tmp_path / "later"
    kiosk = terminal(later, size=(300, 24))  # wide enough to keep a long path on one line
    kiosk.until(b"later: no such")
    kiosk.press(b" ")
    kiosk.until(b"No result.")
    frames.rename(later)
    kiosk.press(b" ")
    kiosk.until(RESULT)
    kiosk.press(b"q")
    assert kiosk.exit_code() == 0


def test_a_permanent_camera_error_exits_with_9(terminal) -> None:
    kiosk = terminal("/dev/null")
    assert kiosk.exit_code() == 9
    assert b"spot-edge: /dev/null: not a camera" in kiosk.shown


def test_a_rejected_model_exits_with_4(terminal, frames: Path) -> None:
    assert terminal(frames, "--model", frames / "a.jpg").exit_code() == 4


def test_an_image_that_cannot_be_classified_is_reported_and_the_next_one_works(terminal, frames, draw, encode) -> None:
    (frames / "a.jpg").write_bytes(encode(draw(20, 20), "JPEG"))
    kiosk = terminal(frames)
    kiosk.until(b"space or Enter")
    kiosk.press(b" ")
    kiosk.until(b"No result.")
    kiosk.until(b"Quit: q.", 2)
    kiosk.press(b" ")
    kiosk.until(RESULT)
    kiosk.press(b"q")
    assert kiosk.exit_code() == 0


def test_a_resized_terminal_is_drawn_again(terminal) -> None:
    kiosk = terminal("/dev/video-none", size=(80, 24))
    kiosk.until(b"no such camera")
    kiosk.resize(40, 24)
    kiosk.until(b"space or Enter", 2)
    kiosk.until(b"plug\033[K")
    kiosk.press(b"q")
    assert kiosk.exit_code() == 0
    lines = kiosk.shown.split(CLEAR)[-1].decode().split("\r\n")
    assert max(map(len, lines[:-2])) <= 40


def test_predictions_and_images_are_saved_on_request(terminal, frames: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "here"
    kiosk = terminal(frames, "--save", kept)
    kiosk.until(b"space or Enter")
    for count in (1, 2):
        kiosk.press(b" ")
        kiosk.until(b"Quit: q.", 1 + count)
    kiosk.press(b"q")
    assert kiosk.exit_code() == 0
    assert sorted(path.suffix for path in kept.iterdir()) == [".jpg", ".jpg", ".json", ".json"]
    for path in kept.glob("*.json"):
        assert path.name.startswith("camera-20")
        assert json.loads(path.read_text())["source"]["camera"] == str(frames)
    assert {json.loads(path.read_text())["image"]["width"] for path in kept.glob("*.json")} == {120, 100}


def test_a_prediction_that_cannot_be_saved_is_shown_then_it_exits_with_6(
    terminal, frames: Path, tmp_path: Path
) -> None:
    kiosk = terminal(frames, "--save", tmp_path / "kept", before=FULL)
    kiosk.until(b"space or Enter")
    kiosk.press(b" ")
    assert kiosk.exit_code() == 6
    assert RESULT in kiosk.shown
    assert b"cannot be written: File too large" in " ".join(kiosk.shown.decode().split()).encode()
    assert list((tmp_path / "kept").iterdir()) == []
