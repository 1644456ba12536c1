"""Odd inputs and endings: pipes among the images, folders without permission, closed streams, unusual TIFFs."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from spot_edge.errors import InputError, ModelError
from spot_edge.image.inputs import find_images
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode
from spot_edge.model.file import read_model


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", script.replace("spot-edge", f"'{sys.executable}' -m spot_edge.cli")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60, check=False)


def grey_tiff(bits: int, photometric: int, value: int) -> bytes:
    """A 64x64 grey TIFF with 16-bit samples, whose tag claims `bits` bits."""
    pixels = struct.pack("<H", value) * 64 * 64
    tags = [
        (256, 3, 64), (257, 3, 64), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, 1), (278, 3, 64), (279, 4, len(pixels)),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, content) for tag, kind, content in tags)
    return (
        b"II*\x00" + struct.pack("<I", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + directory + b"\0" * 4
    )


def test_a_plain_16_bit_tiff_keeps_its_high_byte() -> None:
    picture, _ = decode(grey_tiff(16, 1, 60000), "x.tif")
    assert picture.getpixel((5, 5)) == (234, 234, 234)


def test_a_16_bit_tiff_in_which_white_is_zero_is_refused() -> None:
    with pytest.raises(InputError, match=r"x\.tif: gray values in an unusual range"):
        decode(grey_tiff(16, 0, 60000), "x.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT RUN: this system has no named pipes")
def test_a_pipe_among_the_images_is_refused_and_the_others_are_classified(tmp_path: Path, lesion: bytes) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(lesion)
    result = shell("spot-edge classify . --csv", tmp_path)
    assert result.returncode == 3
    assert "a.jpg: cannot be read: not a regular file" in result.stderr
    assert len(result.stdout.splitlines()) == 3


def test_a_device_is_neither_an_image_nor_a_model() -> None:
    with pytest.raises(InputError, match="not a regular file"):
        Source.of("/dev/zero").read()
    with pytest.raises(ModelError, match="not a regular file"):
        read_model("/dev/zero")


def test_a_folder_that_cannot_be_searched_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"x")
    scan = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_images([str(tmp_path)])
    assert [each.relative for each in found if each.problem is None] == ["a.jpg"]
    assert [str(each.problem) for each in found if each.problem] == [
        f"{tmp_path / 'closed'}: cannot be searched: Permission denied"
    ]


def test_requested_files_are_saved_after_the_reader_has_gone(tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "in").mkdir()
    for name in "abcd":
        (tmp_path / "in" / f"{name}.jpg").write_bytes(lesion)
    result = shell("spot-edge classify in --json --save kept | true", tmp_path)
    assert result.stderr == ""
    assert sorted(path.name for path in (tmp_path / "kept").glob("*.json")) == ["a.json", "b.json", "c.json", "d.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT RUN: this system has no /dev/full")
@pytest.mark.parametrize("command", ["info", "--help"])
def test_a_full_disk_is_reported_in_one_line(command: str, tmp_path: Path) -> None:
    result = shell(f"spot-edge {command} >/dev/full", tmp_path)
    assert result.returncode == 6
    assert result.stderr == "spot-edge: cannot write to standard output: No space left on device\n"


def test_closed_streams_do_no_harm(tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(lesion)
    assert shell("spot-edge classify x.jpg --json 2>&-", tmp_path).stdout.startswith("{")
    result = shell("spot-edge classify - <&-", tmp_path)
    assert result.returncode == 3
    assert result.stderr == "spot-edge: -: empty\n"


def test_heat_maps_in_the_folder_are_not_classified(tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(lesion)
    shell("spot-edge classify . --heatmap .", tmp_path)
    result = shell("spot-edge classify . --csv", tmp_path)
    assert (tmp_path / "x.heatmap.png").exists()
    assert len(result.stdout.splitlines()) == 2


def test_two_output_formats_are_a_usage_error(tmp_path: Path) -> None:
    result = shell("spot-edge classify x.jpg --json --csv", tmp_path)
    assert result.returncode == 2
    assert "use either --json or --csv" in result.stderr


posix = pytest.mark.skipif(os.name != "posix", reason="NOT RUN: streams of POSIX")


@posix
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("classify none.jpg x.jpg --csv", 3),
        ("classify none.jpg x.jpg --csv --save kept", 3),
        ("camera capture x.jpg -o -", 0),
        ("info", 0),
        ("nonsense", 2),
        ("classify x.jpg --model none.tflite", 4),
    ],
)
@pytest.mark.parametrize("end", [">out 2>/dev/full", "2>&1 >out | true", ">out 2>&-"], ids=["full", "gone", "closed"])
def test_error_messages_that_nobody_can_read_change_nothing(
    end: str, command: str, code: int, tmp_path: Path, lesion: bytes
) -> None:
    if "full" in end and not Path("/dev/full").exists():
        pytest.skip("NOT RUN: this system has no /dev/full")
    (tmp_path / "x.jpg").write_bytes(lesion)
    assert shell(f"spot-edge {command} >expected 2>said", tmp_path).returncode == code
    shutil.rmtree(tmp_path / "kept", ignore_errors=True)
    streams, _, reader = end.partition("|")
    shell(f"{{ spot-edge {command} {streams}; echo $? >code; }} {'|' + reader if reader else ''}", tmp_path)
    assert (tmp_path / "code").read_text() == f"{code}\n"
    assert (tmp_path / "out").read_bytes() == (tmp_path / "expected").read_bytes()
    assert len(list(tmp_path.glob("kept/x.*"))) == (2 if "--save" in command else 0)


@posix
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_files_are_complete_where_standard_output_was_closed(closed: str, tmp_path: Path, lesion: bytes) -> None:
    """No file may take the number of a closed stream and receive its text."""
    (tmp_path / "x.jpg").write_bytes(lesion)
    assert shell(f"spot-edge classify x.jpg --json --save kept {closed}", tmp_path).returncode == 0
    assert json.loads((tmp_path / "kept" / "x.json").read_text())["source"]["name"] == "x.jpg"
    assert shell(f"spot-edge camera capture kept/x.jpg -o y.jpg {closed}", tmp_path).returncode == 0
    assert (tmp_path / "y.jpg").read_bytes() == (tmp_path / "kept" / "x.jpg").read_bytes()
    assert shell(f"spot-edge doctor {closed}", tmp_path).returncode == 0


@posix
@pytest.mark.parametrize("command", ["info", "--help", "doctor", "camera preview x.jpg", "camera capture x.jpg -o -"])
def test_a_reader_that_reads_nothing(command: str, tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(lesion)
    result = shell(f"{{ spot-edge {command}; echo $? >code; }} | true", tmp_path)
    assert ((tmp_path / "code").read_text(), result.stderr) == ("0\n", "")
