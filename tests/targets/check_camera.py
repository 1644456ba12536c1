"""Cameras against the kernel's own drivers, in the system that camera-vm.sh boots: vivid (raw formats, controls, a
metadata node), v4l2loopback (Motion-JPEG fed by the test) and uvcvideo (a USB camera made of code, see usb_camera.py);
and the kiosk at the press of keys that come through uvcvideo and uinput.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import platform
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from input_key import CAMERA, CAMERA_FOCUS, SPACE, InputKey, Q
from PIL import Image
from usb_camera import EXPOSURE, EXPOSURE_AUTO, FOCUS, FOCUS_AUTO, WHITE_BALANCE, WHITE_BALANCE_AUTO, UsbCamera

from spot_edge import Camera, CameraError
from spot_edge.camera import v4l2
from spot_edge.camera.button import Buttons
from spot_edge.camera.kernel import Kernel
from spot_edge.camera.listing import Listed, list_cameras
from spot_edge.cli import spot_edge
from spot_edge.image import decode

LESION = Path("drawn-melanoma-001.jpg").read_bytes()
LOOP = "/dev/video42"


def modprobe(*arguments: str) -> None:
    subprocess.run(["modprobe", *arguments], check=True)


def until(found: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def cameras(name: str) -> list[Listed]:
    return [listed for listed in list_cameras(Kernel()) if name in listed.name]


def refused(name: str, said: str, **options: object) -> CameraError:
    with Camera(name, timeout=2, **options) as camera, pytest.raises(CameraError, match=said) as caught:  # type: ignore[arg-type]
        next(camera)
    return caught.value


def read_on(camera: Camera) -> None:
    """Take the frames that lie there already, and more."""
    for _ in range(10):
        next(camera)


def test_this_is_the_system_it_is_meant_to_be() -> None:
    assert platform.machine() == "aarch64"
    assert os.geteuid() == 0


# vivid: the kernel's own test camera


@pytest.fixture(scope="module")
def vivid() -> Iterator[str]:
    """A camera of raw formats, and beside it a node for metadata."""
    modprobe("vivid", "n_devs=1", "node_types=0x20001", "input_types=0")
    until(lambda: cameras("vivid"))
    yield cameras("vivid")[0].path
    modprobe("-r", "vivid")


def test_raw_frames_have_the_size_and_colours_of_the_test_pattern(vivid: str) -> None:
    with Camera(vivid, size=(640, 360)) as camera:
        picture, _ = decode(next(camera), vivid)
    assert picture.size == (640, 360)
    bars = [picture.getpixel((40 + 80 * place, 300)) for place in range(8)]
    levels = [tuple(channel > 128 for channel in colour) for colour in bars]  # type: ignore[union-attr]
    white, yellow, cyan, green, magenta, red, blue, black = levels
    assert (white, black) == ((True,) * 3, (False,) * 3)
    assert (yellow, cyan, magenta) == ((True, True, False), (False, True, True), (True, False, True))
    assert (red, green, blue) == ((True, False, False), (False, True, False), (False, False, True))


def test_it_is_listed_with_its_sizes_and_controls_but_its_metadata_node_is_not(vivid: str) -> None:
    listed = cameras("vivid")
    assert len(listed) == 1
    assert any("640x360" in size for size in listed[0].formats["YUYV"])
    assert {"brightness", "gain", "gain-auto", "button"} <= {control.name for control in listed[0].controls}
    others = [node for node in Kernel().nodes() if node != vivid]
    assert others
    for node in others:
        refused(node, "gives a camera's metadata, not its pictures")


def test_controls_are_set_pressed_locked_and_freed(vivid: str) -> None:
    with Camera(vivid, size=(320, 180), controls={"brightness": 99, "button": None}, lock=True) as camera:
        next(camera)
    now = {control.name: control.value for control in cameras("vivid")[0].controls}
    assert (now["brightness"], now["gain-auto"]) == (99, 0)
    with Camera(vivid, size=(320, 180), lock=False) as camera:
        next(camera)
    assert {control.name: control.value for control in cameras("vivid")[0].controls}["gain-auto"] == 1
    refused(vivid, "brightness goes from 0 to 255, not to 999", controls={"brightness": 999})
    refused(vivid, "has no control 'focus'", controls={"focus": 1})


def test_a_camera_in_use_says_so_and_works_when_it_is_free(vivid: str) -> None:
    second = Camera(vivid, size=(320, 180), timeout=2)
    with Camera(vivid, size=(320, 180)) as first:
        next(first)
        with pytest.raises(CameraError, match="in use by another program") as caught:
            next(second)
        assert caught.value.passing
        assert next(first)
    assert next(second)
    second.close()


def test_a_user_without_permission_is_told_the_group(vivid: str) -> None:
    os.chmod(vivid, 0o660)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            next(Camera(vivid))
        except CameraError as error:
            os._exit(9 if str(error).startswith(f"{vivid}: no permission: run `sudo usermod -aG video") else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_its_driver_taken_away_within_the_stream_and_given_back(vivid: str) -> None:
    driver = Path("/sys/bus/platform/drivers/vivid")
    with Camera(vivid, size=(320, 180), timeout=2) as camera:
        next(camera)
        (driver / "unbind").write_text("vivid.0")
        with pytest.raises(CameraError, match=r"unplugged|no such camera") as caught:
            read_on(camera)
        assert caught.value.passing
        with pytest.raises(CameraError, match="no such camera"):
            next(camera)
        (driver / "bind").write_text("vivid.0")
        until(lambda: cameras("vivid"))
        assert cameras("vivid")[0].path == vivid
        assert next(camera)


# v4l2loopback: chosen bytes as Motion-JPEG


class Feeder:
    """Writes `frames` to the loopback device in turn, 20 a second."""

    def __init__(self, width: int = 600, height: int = 450, form: bytes = b"MJPG", size: int = 1 << 19) -> None:
        self.frames: list[bytes] = []
        self.handle = os.open(LOOP, os.O_RDWR)
        code = int.from_bytes(form, "little")
        data = v4l2.FORMAT.pack(2, width, height, code, 1, 0, size)
        fcntl.ioctl(self.handle, v4l2.FORMAT.number(3, 5), data)
        self.running = True
        self.thread = threading.Thread(target=self._feed)

    def _feed(self) -> None:
        count = 0
        while self.running:
            if self.frames:
                os.write(self.handle, self.frames[count % len(self.frames)])
                count += 1
            time.sleep(0.05)


@contextmanager
def fed(*frames: bytes, **options: object) -> Iterator[Feeder]:
    feeder = Feeder(**options)  # type: ignore[arg-type]
    feeder.frames = list(frames)
    feeder.thread.start()
    until(lambda: cameras("Loop") and cameras("Loop")[0].formats)  # it offers none until the first frame
    try:
        yield feeder
    finally:
        feeder.running = False
        feeder.thread.join()
        os.close(feeder.handle)


@pytest.fixture
def loopback() -> Iterator[None]:
    modprobe("v4l2loopback", "video_nr=42", "card_label=Loop")
    until(lambda: os.path.exists(LOOP))
    yield
    modprobe("-r", "v4l2loopback")


def numbered(number: int) -> bytes:
    return LESION[:2] + b"\xff\xfe\x00\x04%02d" % number + LESION[2:]


def test_motion_jpeg_comes_out_byte_for_byte(loopback: None) -> None:
    frames = [numbered(number) for number in range(7)]
    with fed(*frames), Camera(LOOP) as camera:
        taken = [next(camera) for _ in range(10)]
    assert set(taken) <= set(frames)
    assert len(set(taken)) > 3


def in_32_bits(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A Python program in the 32-bit system that lies within this one."""
    if not os.path.ismount("/opt/armhf/dev"):
        for folder in ("dev", "opt"):
            Path("/opt/armhf", folder).mkdir(exist_ok=True)
        subprocess.run(["busybox", "mount", "--bind", "/dev", "/opt/armhf/dev"], check=True)
        shutil.copytree("/opt/spot", "/opt/armhf/opt/spot")
    command = ["busybox", "chroot", "/opt/armhf", "/usr/bin/python3", "-c", program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env={"PYTHONPATH": "/opt/spot"}, **pipes)


PICTURE_IN_32_BITS = """
import struct, sys
from spot_edge import Camera
assert struct.calcsize("P") == 4
with Camera(sys.argv[1]) as camera:
    sys.stdout.buffer.write(next(camera))
"""


def test_a_32_bit_program_gets_the_same_bytes(loopback: None) -> None:
    with fed(LESION), in_32_bits(PICTURE_IN_32_BITS, LOOP) as program:
        picture, said = program.communicate(timeout=120)
    assert program.returncode == 0, said.decode()
    assert picture == LESION


def test_padding_and_bad_frames_between_good_ones(loopback: None) -> None:
    bad = [LESION[:-1], LESION[:500], b"\0" * 64, b"\xff\xd8\xff"]
    with fed(LESION + bytes(200_000), *bad, LESION), Camera(LOOP) as camera:
        assert [next(camera) for _ in range(5)] == [LESION] * 5


def test_nothing_but_bad_frames_then_silence_then_good_ones(loopback: None) -> None:
    with fed(LESION[:-1]) as feeder, Camera(LOOP, timeout=1.5) as camera:
        start = time.monotonic()
        with pytest.raises(CameraError, match=r"no picture within 1\.5 s \(the last frame: cut short") as caught:
            next(camera)
        assert caught.value.passing
        feeder.frames = []
        with pytest.raises(CameraError, match="no picture within"):
            next(camera)
        assert time.monotonic() - start < 10
        feeder.frames = [LESION]
        assert next(camera) == LESION


def test_odd_sizes_and_a_format_that_changes(loopback: None) -> None:
    with Camera(LOOP, timeout=2) as camera:
        with fed(bytes([81, 90, 81, 240]) * 161 * 243, width=322, height=243, form=b"YUYV", size=322 * 243 * 2):
            picture, _ = decode(next(camera), LOOP)
            assert picture.size == (322, 243)
            assert picture.getpixel((50, 50)) == pytest.approx((255, 0, 0), abs=4)
        with pytest.raises(CameraError):
            read_on(camera)
        with fed(LESION):
            assert next(camera) == LESION


def test_the_subcommands(loopback: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fed(LESION):
        for arguments in (
            ["list"],
            ["capture", LOOP, "-o", str(tmp_path / "taken.jpg")],
            ["preview", LOOP, "--seconds", "1"],
        ):
            spot_edge.main(["camera", *arguments], standalone_mode=False)
        said = capsys.readouterr().out
        classify = ["classify", "--camera", LOOP, "--json", "--save", str(tmp_path / "kept")]
        spot_edge.main(classify, standalone_mode=False)
    assert f"{LOOP}  Loop" in said
    assert "  MJPG" in said
    assert "frames/s  600x450" in said
    assert (tmp_path / "taken.jpg").read_bytes() == LESION
    found = json.loads(capsys.readouterr().out)
    assert found["source"]["camera"] == LOOP
    assert found["ranked"][0]["label"] == "mel"
    assert len(list((tmp_path / "kept").iterdir())) == 2


# uvcvideo: a true USB Video Class device


@pytest.fixture
def dermatoscope() -> Iterator[UsbCamera]:
    modprobe("vhci-hcd")
    modprobe("uvcvideo")
    camera = UsbCamera(lambda: LESION)
    camera.plug()
    try:
        until(lambda: cameras("Dermatoscope"), 20)
        yield camera
    finally:
        camera.pull()
    until(lambda: not cameras("Dermatoscope"), 20)


def test_a_usb_camera_is_what_auto_takes_byte_for_byte(dermatoscope: UsbCamera) -> None:
    with Camera() as camera:
        assert [next(camera) for _ in range(5)] == [LESION] * 5
        assert camera.opened == cameras("Dermatoscope")[0].path


def test_it_is_listed_and_its_metadata_node_is_not(dermatoscope: UsbCamera) -> None:
    (listed,) = cameras("Dermatoscope")
    assert listed.bus.startswith("usb-")
    assert listed.formats == {"MJPG": ("640x480", "320x240")}
    assert {"focus", "focus-auto", "exposure", "exposure-auto", "white-balance", "white-balance-auto"} <= {
        control.name for control in listed.controls
    }
    name = Path("/sys/class/video4linux") / Path(listed.path).name / "name"
    siblings = [node for node in name.parent.parent.iterdir() if (node / "name").read_text() == name.read_text()]
    assert len(siblings) == 2
    for sibling in siblings:
        if sibling.name != Path(listed.path).name:
            refused(f"/dev/{sibling.name}", "metadata")


def test_focus_exposure_and_white_balance_of_a_usb_camera(dermatoscope: UsbCamera) -> None:
    with Camera(lock=True) as camera:
        next(camera)
    held = {name: control[5] for name, control in dermatoscope.controls.items()}
    assert (held[EXPOSURE_AUTO], held[FOCUS_AUTO], held[WHITE_BALANCE_AUTO]) == (1, 0, 0)
    assert (held[EXPOSURE], held[FOCUS], held[WHITE_BALANCE]) == (777, 40, 5100)
    with Camera(lock=False, controls={"focus": 55}) as camera:
        next(camera)
    free = {name: control[5] for name, control in dermatoscope.controls.items()}
    assert (free[EXPOSURE_AUTO], free[FOCUS], free[WHITE_BALANCE_AUTO]) == (8, 55, 1)


def test_broken_frames_of_a_usb_camera(dermatoscope: UsbCamera) -> None:
    script = [LESION[:-2], b"", LESION + bytes(5000), LESION[:100]]
    turn = iter(range(10**6))
    dermatoscope.frame = lambda: script[next(turn) % len(script)]
    with Camera() as camera:
        assert [next(camera) for _ in range(4)] == [LESION] * 4


def test_pulled_within_a_frame_and_plugged_in_again(dermatoscope: UsbCamera) -> None:
    with Camera(cameras("Dermatoscope")[0].path, timeout=3) as camera:
        next(camera)
        dermatoscope.pull()
        start = time.monotonic()
        with pytest.raises(CameraError) as caught:
            read_on(camera)
        assert caught.value.passing
        assert time.monotonic() - start < 8
        until(lambda: not cameras("Dermatoscope"))
        with pytest.raises(CameraError):
            next(camera)
        dermatoscope.plug()
        until(lambda: cameras("Dermatoscope"), 20)
        assert next(camera) == LESION


def test_a_usb_camera_that_falls_silent(dermatoscope: UsbCamera) -> None:
    with Camera(timeout=1.5) as camera:
        next(camera)
        dermatoscope.frame = lambda: None
        with pytest.raises(CameraError, match="no picture within"):
            read_on(camera)
        dermatoscope.frame = lambda: LESION
        assert next(camera) == LESION


def test_a_picture_decodes_to_what_was_sent(dermatoscope: UsbCamera) -> None:
    with Camera() as camera, Image.open(io.BytesIO(next(camera))) as taken, Image.open(io.BytesIO(LESION)) as sent:
        assert taken.tobytes() == sent.tobytes()


# the kiosk, and what presses it

SAID = Path("/tmp/kiosk.log")


class Kiosk:
    """`spot-edge kiosk` as a process."""

    def __init__(self, *arguments: str, **streams: Any) -> None:
        command = [sys.executable, "-u", "-m", "spot_edge.cli", "kiosk", *arguments]
        with SAID.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log} | streams
            self.process = subprocess.Popen(command, **streams)

    def __enter__(self) -> Kiosk:
        return self

    def __exit__(self, *ended: object) -> None:
        self.process.kill()
        self.process.wait()
        print(SAID.read_text())  # seen where a test fails

    def said(self, words: str) -> int:
        """How often it said `words`."""
        return SAID.read_text().count(words)

    def has_open(self, kind: str) -> bool:
        """Whether it has a device of `kind` (input/event or video) open now."""
        assert self.process.poll() is None, SAID.read_text()
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


@pytest.fixture(scope="module")
def uinput() -> None:
    modprobe("evdev")
    modprobe("uinput")
    until(lambda: os.path.exists("/dev/uinput"))


def test_the_button_of_a_usb_camera_judges_what_it_sees(uinput: None, dermatoscope: UsbCamera) -> None:
    with Kiosk(cameras("Dermatoscope")[0].path) as kiosk:  # auto would take vivid's when this one is pulled
        for count in (1, 2):
            until(lambda: kiosk.has_open("video") and kiosk.has_open("input/event") and dermatoscope.heard, 120)
            dermatoscope.press(True)
            until(lambda count=count: kiosk.said("looks most like  melanoma") == count, 60)
            until(lambda: dermatoscope.heard)
            dermatoscope.press(False)
            dermatoscope.pull()
            until(lambda: not kiosk.has_open("video") and not kiosk.has_open("input/event"), 120)
            until(lambda: not cameras("Dermatoscope"), 20)
            dermatoscope.plug()
        assert kiosk.end() == 0
    assert kiosk.said("Picture taken at") == 2
    assert kiosk.said("spot-edge: ") >= 2  # that the camera is not there
    assert kiosk.said("Traceback") == 0


def test_a_key_that_is_held_pressed_half_way_or_pulled(uinput: None, loopback: None) -> None:
    with fed(LESION), Kiosk(LOOP) as kiosk, plugged(SPACE) as keyboard:
        with plugged(CAMERA, CAMERA_FOCUS) as key:
            until(lambda: kiosk.has_open("video") and kiosk.has_open("input/event"), 120)
            key.press(CAMERA_FOCUS)
            keyboard.press(SPACE)  # without that key, a keyboard is no trigger
            key.press(CAMERA, seconds=1.5)  # the kernel repeats it
            until(lambda: kiosk.said("Picture taken at") == 1, 60)
        until(lambda: not kiosk.has_open("input/event"))
        with plugged(CAMERA) as key:
            until(lambda: kiosk.has_open("input/event"))
            assert kiosk.said("Picture taken at") == 1
            key.press(CAMERA)
            until(lambda: kiosk.said("Picture taken at") == 2, 60)
        assert kiosk.end() == 0
    assert kiosk.said("Traceback") == 0


PRESS_IN_32_BITS = """
import os, struct, time
from spot_edge.camera.button import EVENT, Buttons
assert (struct.calcsize("P"), EVENT.size) == (4, 16)
with Buttons() as buttons:
    (handle,) = buttons.look()
    print("ready", flush=True)
    time.sleep(2)
    print(os.read(handle, 999).hex())
"""


def test_what_the_kernel_writes_for_a_press(uinput: None) -> None:
    """The bytes that test_kiosk_button.py has from here, in both layouts."""
    with plugged(CAMERA) as key, Buttons() as buttons, in_32_bits(PRESS_IN_32_BITS) as program:
        (handle,) = buttons.look()
        assert program.stdout is not None
        assert program.stdout.readline() == b"ready\n"
        key.press(CAMERA)
        wide, narrow = os.read(handle, 999), bytes.fromhex(program.stdout.read().decode())
    print("64-bit:", wide.hex(), "32-bit:", narrow.hex())
    assert (len(wide), len(narrow)) == (4 * 24, 4 * 16)
    for data, times, size in ((wide, 16, 24), (narrow, 8, 16)):
        events = [struct.unpack_from("HHi", data, at + times) for at in range(0, len(data), size)]
        assert events == [(1, CAMERA, 1), (0, 0, 0), (1, CAMERA, 0), (0, 0, 0)]


def test_triggers_that_are_not_for_us_are_told_of(uinput: None) -> None:
    with plugged(CAMERA):
        for path in Path("/dev/input").glob("event*"):
            path.chmod(0o660)
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            with Buttons() as buttons:
                early = buttons.look(), buttons.closed
                time.sleep(1.1)
                os._exit(0 if (early, buttons.look()) == (([], ()), []) and buttons.closed else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_on_a_console_its_keyboard_takes_pictures_and_q_ends(uinput: None, loopback: None) -> None:
    """The terminal that the systemd unit uses, tty1, and what is on it."""

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
    assert "model score 0.73  malignant" in shown
    assert "An aid for trained people, not a diagnosis." in shown
    assert "████  █████ █   █" in shown
