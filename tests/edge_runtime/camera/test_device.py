"""Frames of a V4L2 camera, and how long the camera waits for one."""

from __future__ import annotations

import errno
import itertools
import struct
import time
from typing import Any

import pytest

from spot_edge import CameraError
from spot_edge.camera import v4l2
from spot_edge.image.tensor import decode

NOTHING = None  # in a script: no frame arrives


def test_layout_sizes_on_this_system_and_on_a_32_bit_one() -> None:
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


def test_every_format_code_has_a_name() -> None:
    codes = (0x47504A4D, 0x56595559, 0x20363159, 0x20363159 | 1 << 31, 0x01FF0203)
    assert [v4l2.fourcc(code) for code in codes] == ["MJPG", "YUYV", "Y16", "Y16-BE", "\\x03\\x02\ufffd\\x01"]


ODD_REPLIES: dict[str, tuple[str, Any, str]] = {
    "no width": (
        "S_FMT",
        lambda data: struct.pack_into("II", data, v4l2.FORMAT.size - 200, 0, 480),
        "YUYV of 0x480 pixels",
    ),
    "too many pixels": (
        "S_FMT",
        lambda data: struct.pack_into("II", data, v4l2.FORMAT.size - 200, 2**31, 2**31),
        "YUYV of 2147483648x2147483648 pixels",
    ),
    "no buffers": ("REQBUFS", lambda data: struct.pack_into("I", data, 0, 0), "offers 0 buffers"),
    "endless buffers": ("REQBUFS", lambda data: struct.pack_into("I", data, 0, 2**32 - 1), "offers 4294967295 buffers"),
    "empty buffers": ("QUERYBUF", lambda data: None, "offers empty buffers"),
    "another's buffer": (
        "DQBUF",
        lambda data: data.__setitem__(slice(None), v4l2.BUFFER.pack(9, 1, 5, 0x2000, 1, int(time.monotonic()))),
        "in an unknown buffer",
    ),
}


@pytest.mark.parametrize(("request_name", "reply", "message"), ODD_REPLIES.values(), ids=ODD_REPLIES)
def test_nonsense_from_a_driver_is_rejected(
    request_name: str, reply: Any, message: str, warm, scripted, refused
) -> None:
    kernel = scripted(*warm, form="YUYV" if request_name == "S_FMT" else "MJPG")
    setattr(kernel, f"_{request_name}", reply)
    assert message in str(refused(kernel))


def test_request_numbers_match_the_kernel_headers() -> None:
    found = [layout.number(3, which) for layout, which in ((v4l2.FORMAT, 5), (v4l2.BUFFER, 15), (v4l2.BUFFER, 17))]
    wide = struct.calcsize("P") == 8
    assert found == ([0xC0D05605, 0xC058560F, 0xC0585611] if wide else [0xC0CC5605, 0xC044560F, 0xC0445611])


def test_the_first_frames_are_dropped_and_the_others_unchanged(warm, scripted, camera, numbered) -> None:
    frames = [numbered(number) for number in range(20)]
    kernel = scripted(*frames)
    with camera(kernel) as source:
        assert list(itertools.islice(source, 12)) == frames[8:]
        assert source.opened == "/dev/video0"
        assert kernel.open_handles == 1
    assert kernel.open_handles == 0
    assert kernel.calls[-1] == "STREAMOFF"


def test_skipped_frames_are_neither_decoded_nor_kept(jpeg, warm, scripted, camera, numbered) -> None:
    kernel = scripted(*warm, b"bad", jpeg, NOTHING, numbered(1))
    with camera(kernel) as source:
        assert source.skip()
        assert source.skip()
        with pytest.raises(CameraError, match=r"no image within 0\.2 s \(nothing arrived\)") as caught:
            source.skip()
        assert caught.value.transient
        assert kernel.open_handles == 0
        kernel.frames = [*warm, b"bad", *kernel.frames]
        assert source.skip()
        assert next(source) == numbered(1)
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
def test_a_bad_frame_is_dropped(bad: Any, jpeg, warm, scripted, camera, numbered) -> None:
    good = numbered(1)
    assert next(camera(scripted(*warm, bad(jpeg) if callable(bad) else bad, good))) == good


def test_a_padded_frame_is_cut_to_its_image(jpeg, warm, scripted, camera) -> None:
    assert next(camera(scripted(*warm, jpeg + bytes(100_000)))) == jpeg


def test_empty_frames_alone_time_out(warm, scripted, refused) -> None:
    error = refused(scripted(*warm, *[b""] * 50, NOTHING))
    assert "no image within 0.2 s (the last frame: empty)" in str(error)
    assert error.transient


def test_silence_times_out_and_a_later_frame_is_returned(warm, scripted, camera, numbered) -> None:
    source = camera(scripted(*warm, NOTHING, *warm, numbered(3)))
    with pytest.raises(CameraError, match="nothing arrived"):
        next(source)
    assert next(source) == numbered(3)


def test_a_device_that_always_reports_eagain_causes_no_busy_loop(warm, scripted, refused) -> None:
    kernel = scripted(*warm, *[errno.EAGAIN] * 1000)
    assert refused(kernel).transient
    assert kernel.calls.count("DQBUF") < 60


def test_fast_bad_frames_time_out(warm, scripted, refused) -> None:
    kernel = scripted(*warm, *[b"not a one"] * 200_000)
    assert "the last frame: no JPEG in 9 bytes" in str(refused(kernel))
    assert len(kernel.frames) > 199_990  # six frames arrive in 0.2 seconds


def test_a_camera_unplugged_during_a_frame_and_plugged_in_again(jpeg, warm, scripted, camera, numbered) -> None:
    kernel = scripted(*warm, jpeg, errno.ENODEV)
    source = camera(kernel)
    next(source)
    with pytest.raises(CameraError, match="unplugged") as caught:
        next(source)
    assert caught.value.transient
    assert kernel.open_handles == 0
    kernel.failing = {"open": errno.ENOENT}
    with pytest.raises(CameraError, match="no such camera"):
        next(source)
    kernel.failing, kernel.frames = {}, [*warm, numbered(9)]
    assert next(source) == numbered(9)


def test_mjpeg_is_preferred_and_yuyv_has_the_size_that_the_driver_sets(warm, jpeg, scripted, camera) -> None:
    assert next(camera(scripted(*warm, jpeg, form="YUYV,MJPG"))) == jpeg
    kernel = scripted(*[bytes([81, 90, 81, 240]) * 33 * 35] * 9, form="H264,YUYV")
    kernel.size = (65, 35)
    picture, _ = decode(next(camera(kernel)), "frame")
    assert picture.size == (64, 35)
    assert picture.getpixel((9, 9)) == pytest.approx((255, 0, 0), abs=3)
