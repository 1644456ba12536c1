"""A V4L2 camera behind a scripted kernel: the faults that no driver makes to order. Real drivers: make camera-vm."""

from __future__ import annotations

import errno
import itertools
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from spot_edge import Camera, CameraError
from spot_edge.camera import v4l2
from spot_edge.camera.kernel import Kernel
from spot_edge.camera.listing import find_camera, list_cameras
from spot_edge.image import decode

NOTHING = None  # in a script: no frame comes
NUMBERS = {
    0x80685600: "QUERYCAP",
    0xC0405602: "ENUM_FMT",
    v4l2.FORMAT.number(3, 5): "S_FMT",
    0xC0145608: "REQBUFS",
    v4l2.BUFFER.number(3, 9): "QUERYBUF",
    v4l2.BUFFER.number(3, 15): "QBUF",
    v4l2.BUFFER.number(3, 17): "DQBUF",
    0x40045612: "STREAMON",
    0x40045613: "STREAMOFF",
    0xC0445624: "QUERYCTRL",
    0xC008561B: "G_CTRL",
    0xC008561C: "S_CTRL",
    0xC02C564A: "ENUM_FRAMESIZES",
}


class Scripted(Kernel):
    """A kernel with one camera, /dev/video0, that does what `frames` says, and fails where `failing` says."""

    def __init__(self, *frames: Any, form: str = "MJPG", capabilities: int = 0x04000001) -> None:
        self.frames, self.form, self.capabilities = list(frames), form, capabilities
        self.failing: dict[str, int] = {}
        self.calls: list[str] = []
        self.open_handles = 0
        self.size: tuple[int, int] | None = None
        self.controls: dict[int, list[Any]] = {}  # number → type, name, low, high, step, default, value
        self.jumping: dict[int, tuple[int, int]] = {}  # a control that, when it is set, sets another
        self.queue: list[int] = []
        self.buffers = [bytearray(200_000) for _ in range(4)]

    def nodes(self) -> list[str]:
        return ["/dev/video0"]

    def open(self, path: str) -> int:
        self._may_fail("open")
        self.open_handles += 1
        return 7

    def close(self, handle: int) -> None:
        self.open_handles -= 1

    def map(self, handle: int, length: int, offset: int) -> Any:
        return _Mapped(self.buffers[offset // 4096])

    def wait(self, handle: int, seconds: float) -> bool:
        if self.frames and self.frames[0] is NOTHING:
            self.frames.pop(0)
            return False
        return bool(self.frames)

    def ioctl(self, handle: int, request: int, data: bytearray) -> None:
        name = NUMBERS[request]
        self.calls.append(name)
        self._may_fail(name)
        getattr(self, f"_{name}", lambda data: None)(data)

    def _may_fail(self, name: str) -> None:
        if name in self.failing:
            raise OSError(self.failing[name], "scripted")

    def _QUERYCAP(self, data: bytearray) -> None:  # noqa: N802
        card = (b"uvcvideo", b"Scope 2", b"usb-1.2", 0, 0x80000000, self.capabilities)
        data[:] = v4l2.CAPABILITY.pack(*card)

    def _ENUM_FMT(self, data: bytearray) -> None:  # noqa: N802
        index = struct.unpack_from("I", data)[0]
        offered = [form for form in self.form.split(",") if form]
        if index >= len(offered):
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("4s", data, 44, offered[index].encode())

    def _ENUM_FRAMESIZES(self, data: bytearray) -> None:  # noqa: N802
        index = struct.unpack_from("I", data)[0]
        if index > 1:
            raise OSError(errno.EINVAL, "no more")
        struct.pack_into("III", data, 8, 1, *((640, 480), (1280, 960))[index])

    def _S_FMT(self, data: bytearray) -> None:  # noqa: N802
        at = v4l2.FORMAT.size - 200
        width, height = self.size or struct.unpack_from("II", data, at)
        form = bytes(data[at + 8 : at + 12])
        struct.pack_into("II4sII", data, at, width, height, form, 1, 4 * ((width + 1) // 2) if form == b"YUYV" else 0)

    def _REQBUFS(self, data: bytearray) -> None:  # noqa: N802
        self.queue = []

    def _QUERYBUF(self, data: bytearray) -> None:  # noqa: N802
        values = list(struct.unpack(v4l2.BUFFER.fields, data))
        values[-4], values[-3] = 4096 * values[0], 200_000
        data[:] = struct.pack(v4l2.BUFFER.fields, *values)

    def _QBUF(self, data: bytearray) -> None:  # noqa: N802
        self.queue.append(struct.unpack_from("I", data)[0])

    def _DQBUF(self, data: bytearray) -> None:  # noqa: N802
        frame = self.frames.pop(0)
        if isinstance(frame, int):
            raise OSError(frame, "scripted")
        content, flags, age = frame if isinstance(frame, tuple) else (frame, 0x2000, 0.0)
        index = self.queue.pop(0)
        self.buffers[index][: len(content)] = content
        taken = time.monotonic() - age
        data[:] = v4l2.BUFFER.pack(index, 1, len(content), flags, 1, int(taken), int(taken % 1 * 1e6))

    def _QUERYCTRL(self, data: bytearray) -> None:  # noqa: N802
        after = struct.unpack_from("I", data)[0] & ~0x80000000
        number = next((n for n in sorted(self.controls) if n > after), None)
        if number is None:
            raise OSError(errno.EINVAL, "no more")
        kind, name, *limits, _ = self.controls[number]
        data[:] = v4l2.CONTROL_INFO.pack(number, kind, name, *limits)

    def _G_CTRL(self, data: bytearray) -> None:  # noqa: N802
        number = struct.unpack_from("I", data)[0]
        struct.pack_into("i", data, 4, self.controls[number][-1])

    def _S_CTRL(self, data: bytearray) -> None:  # noqa: N802
        number, value = struct.unpack("Ii", data)
        self.controls[number][-1] = value
        if number in self.jumping:
            jumps, to = self.jumping[number]
            self.controls[jumps][-1] = to


class _Mapped(bytearray):
    def __init__(self, buffer: bytearray) -> None:
        super().__init__()
        self.buffer = buffer

    def __getitem__(self, part: Any) -> Any:
        return self.buffer[part]

    def close(self) -> None:
        """As of an mmap."""


@pytest.fixture(scope="module")
def jpeg(draw, encode) -> bytes:
    return encode(draw(64, 48), "JPEG")


@pytest.fixture(scope="module")
def warm(jpeg) -> list[bytes]:
    """As many frames as are dropped while exposure settles."""
    return [jpeg] * 8


def numbered(jpeg: bytes, number: int) -> bytes:
    """`jpeg` with a comment by which it is known again."""
    return jpeg[:2] + b"\xff\xfe\x00\x04%02d" % number + jpeg[2:]


def camera(kernel: Kernel, **options: Any) -> Camera:
    return Camera("/dev/video0", kernel=kernel, timeout=0.2, **options)


def refused(kernel: Kernel, **options: Any) -> CameraError:
    with pytest.raises(CameraError) as caught:
        next(camera(kernel, **options))
    assert "\n" not in str(caught.value)
    assert kernel.open_handles == 0
    return caught.value


def test_layouts_on_this_system_and_on_a_32_bit_one() -> None:
    layouts = {
        v4l2.CAPABILITY: (104, 104),
        v4l2.FORMAT_INFO: (64, 64),
        v4l2.SIZE_INFO: (44, 44),
        v4l2.FORMAT: (208, 204),
        v4l2.REQUEST_BUFFERS: (20, 20),
        v4l2.BUFFER: (88, 68),
        v4l2.STREAM: (4, 4),
        v4l2.CONTROL_INFO: (68, 68),
        v4l2.CONTROL: (8, 8),
    }
    here = {8: 0, 4: 1}[struct.calcsize("P")]
    for layout, sizes in layouts.items():
        assert layout.size == sizes[here]
        narrow = layout.fields.replace("0P", "").replace("0L", "").replace("l", "i").replace("L", "I")
        assert struct.calcsize(f"={narrow}") == sizes[1]


def test_formats_have_names_whatever_their_bytes() -> None:
    codes = (0x47504A4D, 0x56595559, 0x20363159, 0x20363159 | 1 << 31, 0x01FF0203)
    assert [v4l2.fourcc(code) for code in codes] == ["MJPG", "YUYV", "Y16", "Y16-BE", "\x03\x02\ufffd\x01"]


def test_the_numbers_of_the_requests_are_those_of_the_kernel_s_headers() -> None:
    found = [layout.number(3, which) for layout, which in ((v4l2.FORMAT, 5), (v4l2.BUFFER, 15), (v4l2.BUFFER, 17))]
    wide = struct.calcsize("P") == 8
    assert found == ([0xC0D05605, 0xC058560F, 0xC0585611] if wide else [0xC0CC5605, 0xC044560F, 0xC0445611])


def test_frames_come_as_they_are_after_the_first_ones_are_dropped(jpeg, warm) -> None:
    frames = [numbered(jpeg, number) for number in range(20)]
    kernel = Scripted(*frames)
    with camera(kernel) as source:
        assert list(itertools.islice(source, 12)) == frames[8:]
        assert source.opened == "/dev/video0"
        assert kernel.open_handles == 1
    assert kernel.open_handles == 0
    assert kernel.calls[-1] == "STREAMOFF"


def test_frames_that_go_by_are_neither_looked_at_nor_kept(jpeg, warm) -> None:
    kernel = Scripted(*warm, b"bad", jpeg, NOTHING, numbered(jpeg, 1))
    with camera(kernel) as source:
        assert source.skip()
        assert source.skip()
        with pytest.raises(CameraError, match=r"no picture within 0\.2 s \(nothing came\)") as caught:
            source.skip()
        assert caught.value.passing
        assert kernel.open_handles == 0
        kernel.frames = [*warm, b"bad", *kernel.frames]
        assert source.skip()
        assert next(source) == numbered(jpeg, 1)
        kernel.failing["DQBUF"] = errno.ENODEV
        kernel.frames = [jpeg]
        with pytest.raises(CameraError, match="unplugged"):
            source.skip()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\xd8\xff\xe0 cut",
        (b"whatever", 0x2000 | 0x40, 0.0),
        lambda jpeg: jpeg[:-1],
        lambda jpeg: (jpeg, 0x2000 | 0x40, 0.0),
        lambda jpeg: (jpeg, 0x2000, 0.7),
    ],
    ids=["empty", "cut", "damaged", "cut-late", "flagged", "stale"],
)
def test_a_bad_frame_is_left_out(bad: Any, jpeg, warm) -> None:
    good = numbered(jpeg, 1)
    assert next(camera(Scripted(*warm, bad(jpeg) if callable(bad) else bad, good))) == good


def test_a_padded_frame_is_cut_to_its_picture(jpeg, warm) -> None:
    assert next(camera(Scripted(*warm, jpeg + bytes(100_000)))) == jpeg


def test_nothing_but_empty_frames_ends_in_time(warm) -> None:
    error = refused(Scripted(*warm, *[b""] * 50, NOTHING))
    assert "no picture within 0.2 s (the last frame: empty)" in str(error)
    assert error.passing


def test_silence_ends_in_time_and_a_frame_that_comes_later_is_taken(jpeg, warm) -> None:
    source = camera(Scripted(*warm, NOTHING, *warm, numbered(jpeg, 3)))
    with pytest.raises(CameraError, match="nothing came"):
        next(source)
    assert next(source) == numbered(jpeg, 3)


def test_a_device_that_complains_without_end_does_not_spin_for_ever(warm) -> None:
    kernel = Scripted(*warm, *[errno.EAGAIN] * 1000)
    start = time.monotonic()
    assert refused(kernel).passing
    assert time.monotonic() - start < 2
    assert kernel.calls.count("DQBUF") < 60


def test_bad_frames_that_come_faster_than_they_are_looked_at_end_in_time(warm) -> None:
    start = time.monotonic()
    assert "the last frame: no JPEG in 9 bytes" in str(refused(Scripted(*warm, *[b"not a one"] * 200_000)))
    assert time.monotonic() - start < 2


def test_unplugged_within_a_frame_and_plugged_in_again(jpeg, warm) -> None:
    kernel = Scripted(*warm, jpeg, errno.ENODEV)
    source = camera(kernel)
    next(source)
    with pytest.raises(CameraError, match="unplugged") as caught:
        next(source)
    assert caught.value.passing
    assert kernel.open_handles == 0
    kernel.failing = {"open": errno.ENOENT}
    with pytest.raises(CameraError, match="no such camera"):
        next(source)
    kernel.failing, kernel.frames = {}, [*warm, numbered(jpeg, 9)]
    assert next(source) == numbered(jpeg, 9)


@pytest.mark.parametrize(
    ("where", "number", "said", "passing"),
    [
        ("open", errno.EACCES, "sudo usermod -aG video", False),
        ("open", errno.ENODEV, "unplugged", True),
        ("open", errno.EBUSY, "in use by another program", True),
        ("S_FMT", errno.EBUSY, "in use by another program", True),
        ("REQBUFS", errno.EBUSY, "in use by another program", True),
        ("STREAMON", errno.ENOSPC, "another socket", False),
        ("STREAMON", errno.EIO, "USB cable", True),
        ("QUERYBUF", errno.ENODEV, "unplugged", True),
        ("QUERYCAP", errno.ENOTTY, "not a camera", False),
        ("REQBUFS", errno.ENOMEM, "no memory", False),
        ("REQBUFS", errno.EILSEQ, "scripted", False),
    ],
)
def test_each_refusal_says_what_to_do(where: str, number: int, said: str, passing: bool) -> None:
    kernel = Scripted()
    kernel.failing = {where: number}
    error = refused(kernel)
    assert said in str(error)
    assert str(error).startswith("/dev/video0: ")
    assert error.passing is passing


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [(0x04800000, "metadata"), (0x04000002, "not a camera"), (0x1, "not a camera"), (0x24000001, "not a camera")],
)
def test_a_node_that_is_no_camera(capabilities: int, said: str) -> None:
    kernel = Scripted(capabilities=capabilities)
    assert said in str(refused(kernel))
    assert list_cameras(kernel) == []
    assert find_camera(kernel) is None


def test_a_camera_of_other_formats_alone() -> None:
    assert "offers H264, pRAA; need MJPG or JPEG or YUYV" in str(refused(Scripted(form="H264,pRAA")))
    assert find_camera(Scripted(form="H264,pRAA")) is None


def test_a_camera_that_nothing_feeds_yet() -> None:
    error = refused(Scripted(form=""))
    assert "offers no picture yet" in str(error)
    assert error.passing


def test_mjpeg_is_preferred_and_yuyv_taken_in_the_size_that_the_driver_gives(warm, jpeg) -> None:
    assert next(camera(Scripted(*warm, jpeg, form="YUYV,MJPG"))) == jpeg
    kernel = Scripted(*[bytes([81, 90, 81, 240]) * 33 * 35] * 9, form="H264,YUYV")
    kernel.size = (65, 35)
    picture, _ = decode(next(camera(kernel)), "frame")
    assert picture.size == (64, 35)
    assert picture.getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=3)


def test_auto_finds_it_and_the_list_tells_all(jpeg, warm) -> None:
    kernel = Scripted(*warm, jpeg, form="MJPG,YUYV")
    kernel.controls = CONTROLS()
    (listed,) = list_cameras(kernel)
    assert (listed.path, listed.name, listed.bus) == ("/dev/video0", "Scope 2", "usb-1.2")
    assert listed.formats == {"MJPG": ("1280x960", "640x480"), "YUYV": ("1280x960", "640x480")}
    assert [control.name for control in listed.controls] == [
        "white-balance-auto", "gain", "exposure-auto", "exposure", "focus", "snapshot-button",
    ]  # fmt: skip
    source = Camera(kernel=kernel)
    assert next(source) == jpeg
    assert source.opened == "/dev/video0"


def test_a_camera_that_may_not_be_opened_is_listed_with_the_reason() -> None:
    kernel = Scripted()
    kernel.failing = {"open": errno.EACCES}
    (listed,) = list_cameras(kernel)
    assert "usermod" in str(listed.problem)
    with pytest.raises(CameraError, match="usermod"):
        next(Camera(kernel=kernel))


def CONTROLS() -> dict[int, list[Any]]:  # noqa: N802
    return {
        0x00980913: [1, b"Gain", 0, 100, 1, 10, 10],
        0x0098090C: [2, b"White Balance, Automatic", 0, 1, 1, 1, 1],
        0x009A0901: [3, b"Auto Exposure", 0, 3, 1, 3, 3],
        0x009A0902: [1, b"Exposure Time, Absolute", 3, 2047, 1, 250, 777],
        0x009A090A: [1, b"Focus, Absolute", 0, 255, 5, 0, 40],
        0x009AFFFF: [4, b"Snapshot Button", 0, 0, 0, 0, 0],
        0x009B0000: [1, b"Something Else", 0, 9, 1, 1, 1],
    }


def values(kernel: Scripted) -> dict[int, int]:
    return {number: control[-1] for number, control in kernel.controls.items()}


def with_controls(jpeg: bytes, **options: Any) -> Scripted:
    kernel = Scripted(*[jpeg] * 11)
    kernel.controls = CONTROLS()
    next(camera(kernel, **options))
    return kernel


def test_a_control_is_set_and_its_automatism_stopped(jpeg) -> None:
    kernel = with_controls(jpeg, controls={"exposure": 100, "focus": 30, "snapshot-button": None})
    assert values(kernel) | {0x009A0901: 1, 0x009A0902: 100, 0x009A090A: 30} == values(kernel)


def test_locking_keeps_what_was_found_and_unlocking_gives_it_back(jpeg) -> None:
    kernel = with_controls(jpeg, lock=True)
    assert values(kernel) | {0x009A0901: 1, 0x009A0902: 777, 0x0098090C: 0} == values(kernel)
    kernel.frames = [jpeg] * 9
    next(camera(kernel, lock=False))
    assert values(kernel) | {0x009A0901: 3, 0x0098090C: 1} == values(kernel)


def test_a_value_that_jumps_when_it_is_locked_is_set_back(jpeg) -> None:
    kernel = Scripted(*[jpeg] * 10, numbered(jpeg, 1))
    kernel.controls, kernel.jumping = CONTROLS(), {0x009A0901: (0x009A0902, 250)}
    assert next(camera(kernel, lock=True)) == numbered(jpeg, 1)
    assert values(kernel)[0x009A0902] == 777
    assert kernel.calls.count("S_CTRL") == 3  # both automatisms, and exposure; white balance has no value here


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"controls": {"zoom": 3}}, "has no control 'zoom': it offers white-balance-auto, gain"),
        ({"controls": {"focus": 256}}, "focus goes from 0 to 255, not to 256"),
        ({"controls": {"focus": None}}, "focus needs a value"),
        ({"controls": {"snapshot-button": 1}}, "snapshot-button takes no value"),
    ],
)
def test_a_control_that_cannot_be_set(options: dict[str, Any], said: str) -> None:
    kernel = Scripted()
    kernel.controls = CONTROLS()
    assert said in str(refused(kernel, **options))


def test_a_driver_that_refuses_a_control_is_told_of(jpeg) -> None:
    kernel = Scripted(*[jpeg] * 9)
    kernel.controls = CONTROLS()
    kernel.failing = {"S_CTRL": errno.EIO}
    assert "focus cannot be set to 9" in str(refused(kernel, controls={"focus": 9}))


def test_a_camera_without_automatisms_cannot_be_locked(jpeg) -> None:
    assert "lets neither focus" in str(refused(Scripted(*[jpeg] * 9), lock=True))


def test_what_breaks_within_opening_leaves_nothing_open(monkeypatch) -> None:
    kernel = Scripted()
    monkeypatch.setattr(kernel, "map", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(camera(kernel))
    assert kernel.open_handles == 0


def _interrupted(*arguments: Any) -> Callable[[], None]:
    raise KeyboardInterrupt
