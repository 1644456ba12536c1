"""Odd inputs and ends: pipes among the pictures, folders that are closed, streams that are gone, unusual TIFFs."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from spot_edge.errors import InputError, ModelError
from spot_edge.image import decode
from spot_edge.inputs import find_pictures
from spot_edge.modelfile import read_model
from spot_edge.source import Source


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", script.replace("spot-edge", f"'{sys.executable}' -m spot_edge.cli")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60, check=False)


def grey_tiff(bits: int, photometric: int, value: int) -> bytes:
    """A 64x64 grey TIFF with 16-bit samples, said to be of `bits` bits."""
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
    with pytest.raises(InputError, match=r"x\.tif: grey values of an unusual range"):
        decode(grey_tiff(16, 0, 60000), "x.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT RUN: this system has no named pipes")
def test_a_pipe_among_the_pictures_is_refused_and_the_rest_goes_on(tmp_path: Path, lesion: bytes) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(lesion)
    done = shell("spot-edge classify . --csv", tmp_path)
    assert done.returncode == 3
    assert "a.jpg: cannot be read: not a plain file" in done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_a_device_is_neither_a_picture_nor_a_model() -> None:
    with pytest.raises(InputError, match="not a plain file"):
        Source.of("/dev/zero").read()
    with pytest.raises(ModelError, match="not a plain file"):
        read_model("/dev/zero")


def test_a_folder_that_cannot_be_searched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").write_bytes(b"x")
    scan = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = find_pictures([str(tmp_path)])
    assert [each.relative for each in found if each.problem is None] == ["a.jpg"]
    assert [str(each.problem) for each in found if each.problem] == [
        f"{tmp_path / 'closed'}: cannot be searched: Permission denied"
    ]


def test_files_that_were_asked_for_are_made_though_the_reader_has_gone(tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "in").mkdir()
    for name in "abcd":
        (tmp_path / "in" / f"{name}.jpg").write_bytes(lesion)
    done = shell("spot-edge classify in --json --save kept | true", tmp_path)
    assert done.stderr == ""
    assert sorted(path.name for path in (tmp_path / "kept").glob("*.json")) == ["a.json", "b.json", "c.json", "d.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT RUN: this system has no /dev/full")
@pytest.mark.parametrize("command", ["info", "--help"])
def test_a_full_disk_is_one_line(command: str, tmp_path: Path) -> None:
    done = shell(f"spot-edge {command} >/dev/full", tmp_path)
    assert done.returncode == 6
    assert done.stderr == "spot-edge: standard output cannot be written: No space left on device\n"


def test_closed_streams_do_no_harm(tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(lesion)
    assert shell("spot-edge classify x.jpg --json 2>&-", tmp_path).stdout.startswith("{")
    done = shell("spot-edge classify - <&-", tmp_path)
    assert done.returncode == 3
    assert done.stderr == "spot-edge: -: empty\n"


def test_heat_maps_in_the_folder_are_not_judged_as_pictures(tmp_path: Path, lesion: bytes) -> None:
    (tmp_path / "x.jpg").write_bytes(lesion)
    shell("spot-edge classify . --heatmap .", tmp_path)
    done = shell("spot-edge classify . --csv", tmp_path)
    assert (tmp_path / "x.heatmap.png").exists()
    assert len(done.stdout.splitlines()) == 2


def test_two_forms_at_once_are_a_usage_error(tmp_path: Path) -> None:
    done = shell("spot-edge classify x.jpg --json --csv", tmp_path)
    assert done.returncode == 2
    assert "--json and --csv exclude one another" in done.stderr
