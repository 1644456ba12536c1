"""v4l2loopback: Motion-JPEG of any bytes, fed by the test."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from around import LESION, in_32_bits, read_on
from feeder import LOOP, fed

from spot_edge import Camera, CameraError
from spot_edge.cli import spot_edge
from spot_edge.image.tensor import decode


def numbered(number: int) -> bytes:
    return LESION[:2] + b"\xff\xfe\x00\x04%02d" % number + LESION[2:]


def test_motion_jpeg_arrives_byte_for_byte(loopback: None) -> None:
    frames = [numbered(number) for number in range(7)]
    with fed(*frames), Camera(LOOP) as camera:
        taken = [next(camera) for _ in range(10)]
    assert set(taken) <= set(frames)
    assert len(set(taken)) > 3


PICTURE_IN_32_BITS = """
import struct, sys
from spot_edge import Camera
assert struct.calcsize("P") == 4
with Camera(sys.argv[1]) as camera:
    sys.stdout.buffer.write(next(camera))
"""


def test_a_32_bit_program_gets_the_same_bytes(loopback: None) -> None:
    with fed(LESION), in_32_bits(PICTURE_IN_32_BITS, LOOP) as program:
        picture, stderr = program.communicate(timeout=120)
    assert program.returncode == 0, stderr.decode()
    assert picture == LESION


def test_padding_and_bad_frames_between_good_ones(loopback: None) -> None:
    bad = [LESION[:-1], LESION[:500], b"\0" * 64, b"\xff\xd8\xff"]
    with fed(LESION + bytes(200_000), *bad, LESION), Camera(LOOP) as camera:
        assert [next(camera) for _ in range(5)] == [LESION] * 5


def test_nothing_but_bad_frames_then_silence_then_good_ones(loopback: None) -> None:
    with fed(LESION[:-1]) as feeder, Camera(LOOP, timeout=1.5) as camera:
        start = time.monotonic()
        with pytest.raises(CameraError, match=r"no image within 1\.5 s \(the last frame: truncated") as caught:
            next(camera)
        assert caught.value.transient
        feeder.frames = []
        with pytest.raises(CameraError, match="no image within"):
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
        output = capsys.readouterr().out
        classify = ["classify", "--camera", LOOP, "--json", "--save", str(tmp_path / "kept")]
        spot_edge.main(classify, standalone_mode=False)
    assert f"{LOOP}  Loop" in output
    assert "  MJPG" in output
    assert "frames/s  600x450" in output
    assert (tmp_path / "taken.jpg").read_bytes() == LESION
    found = json.loads(capsys.readouterr().out)
    assert found["source"]["camera"] == LOOP
    assert found["ranked"][0]["label"] == "mel"
    assert len(list((tmp_path / "kept").iterdir())) == 2
