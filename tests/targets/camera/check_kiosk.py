"""The kiosk and its triggers: keys of a USB camera (uvcvideo) and of an input device (uinput)."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from around import LESION, cameras, expected_score, in_32_bits, until
from feeder import LOOP, fed
from input_key import CAMERA, CAMERA_FOCUS, SPACE, InputKey, Q
from usb_camera import UsbCamera

from spot_edge.camera.button import Buttons

LOG = Path("/tmp/kiosk.log")


class Kiosk:
    """`spot-edge kiosk` as a process."""

    def __init__(self, *arguments: str, **streams: Any) -> None:
        command = [sys.executable, "-u", "-m", "spot_edge.cli", "kiosk", *arguments]
        with LOG.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | streams
            self.process = subprocess.Popen(command, **streams)

    def __enter__(self) -> Kiosk:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        print(LOG.read_text())  # shown if the test fails

    def printed(self, words: str) -> int:
        """How often it has printed `words`."""
        return LOG.read_text().count(words)

    def has_open(self, kind: str) -> bool:
        """Whether it has a device of `kind` (input/event or video) open now."""
        assert self.process.poll() is None, LOG.read_text()
        links = []
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                links.append(os.readlink(link))
        return any(link.startswith(f"/dev/{kind}") and "deleted" not in link for link in links)

    def end(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def plugged(*keys: int) -> Iterator[InputKey]:
    device = InputKey(*keys)
    try:
        yield device
    finally:
        device.pull()


def test_the_button_of_a_usb_camera_takes_a_picture(vivid: str, uinput: None, dermatoscope: UsbCamera) -> None:
    with Kiosk(cameras("Dermatoscope")[0].path) as kiosk:  # auto would switch to vivid when this one is pulled
        for count in (1, 2):
            until(lambda: kiosk.has_open("video") and kiosk.has_open("input/event") and dermatoscope.button_polled, 120)
            dermatoscope.press(True)
            until(lambda count=count: kiosk.printed("looks most like  melanoma") == count, 60)
            until(lambda: dermatoscope.button_polled)
            dermatoscope.press(False)
            dermatoscope.pull()
            until(lambda: not kiosk.has_open("video") and not kiosk.has_open("input/event"), 120)
            until(lambda: not cameras("Dermatoscope"), 20)
            dermatoscope.plug()
        assert kiosk.end() == 0
    assert kiosk.printed("Picture taken at") == 2
    assert kiosk.printed("spot-edge: ") >= 2  # reports the missing camera
    assert kiosk.printed("Traceback") == 0


def test_a_key_held_pressed_half_way_or_pulled(uinput: None, loopback: None) -> None:
    with fed(LESION), Kiosk(LOOP) as kiosk, plugged(SPACE) as keyboard:
        with plugged(CAMERA, CAMERA_FOCUS) as key:
            until(lambda: kiosk.has_open("video") and kiosk.has_open("input/event"), 120)
            key.press(CAMERA_FOCUS)
            keyboard.press(SPACE)  # not a trigger: a keyboard lacks the camera key
            key.press(CAMERA, seconds=1.5)  # the kernel repeats it
            until(lambda: kiosk.printed("Picture taken at") == 1, 60)
        until(lambda: not kiosk.has_open("input/event"))
        with plugged(CAMERA) as key:
            until(lambda: kiosk.has_open("input/event"))
            assert kiosk.printed("Picture taken at") == 1
            key.press(CAMERA)
            until(lambda: kiosk.printed("Picture taken at") == 2, 60)
        assert kiosk.end() == 0
    assert kiosk.printed("Traceback") == 0


PRESS_IN_32_BITS = """
import os, struct, time
from spot_edge.camera.button import EVENT, Buttons
assert (struct.calcsize("P"), EVENT.size) == (4, 16)
with Buttons() as buttons:
    (handle,) = buttons.find()
    print("ready", flush=True)
    time.sleep(2)
    print(os.read(handle, 999).hex())
"""


def test_what_the_kernel_writes_for_a_press(uinput: None) -> None:
    """The source of the bytes in tests/edge_runtime/kiosk/test_button.py, in both layouts."""
    with plugged(CAMERA) as key, Buttons() as buttons, in_32_bits(PRESS_IN_32_BITS) as program:
        (handle,) = buttons.find()
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        key.press(CAMERA)
        wide, narrow = os.read(handle, 999), bytes.fromhex(program.stdout.read().decode())
    print("64-bit:", wide.hex(), "32-bit:", narrow.hex())
    assert (len(wide), len(narrow)) == (4 * 24, 4 * 16)
    for data, times, size in ((wide, 16, 24), (narrow, 8, 16)):
        events = [struct.unpack_from("HHi", data, at + times) for at in range(0, len(data), size)]
        assert events == [(1, CAMERA, 1), (0, 0, 0), (1, CAMERA, 0), (0, 0, 0)]


def test_triggers_without_permission_are_reported(uinput: None) -> None:
    with plugged(CAMERA):
        for path in Path("/dev/input").glob("event*"):
            path.chmod(0o660)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            with Buttons() as buttons:
                early = buttons.find(), buttons.closed
                time.sleep(1.1)
                os._exit(0 if (early, buttons.find()) == (([], ()), []) and buttons.closed else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_on_a_console_the_keyboard_takes_pictures_and_q_quits(uinput: None, loopback: None) -> None:
    """On tty1, the terminal that the systemd unit uses."""

    def modes() -> list[Any]:
        with open("/dev/tty1", "rb", buffering=0) as console:
            return termios.tcgetattr(console)

    def screen() -> str:
        return Path("/dev/vcsu1").read_bytes().decode("utf-32-le")

    before = modes()
    with ExitStack() as stack:
        keyboard = stack.enter_context(plugged(SPACE, Q))
        stack.enter_context(fed(LESION))
        console = stack.enter_context(open("/dev/tty1", "rb+", buffering=0))
        kiosk = stack.enter_context(Kiosk(LOOP, stdin=console, stdout=console, start_new_session=True))
        until(lambda: "frames/s" in screen(), 120)
        keyboard.press(SPACE)
        until(lambda: "looks most like  melanoma" in screen(), 60)
        until(lambda: "frames/s" in screen())
        shown = screen()
        keyboard.press(Q)
        assert kiosk.process.wait(20) == 0
    assert modes() == before
    assert expected_score() in shown
    assert "An aid for trained people, not a diagnosis." in shown
    assert "████  █████ █   █" in shown
