"""What a prediction is made from, and how its record describes it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from spot_edge.errors import InputError
from spot_edge.image.source import Source


@pytest.mark.parametrize("thing", ["lesion.png", Path("lesion.png")])
def test_a_path(thing: object) -> None:
    source = Source.of(thing)
    assert (source.kind, source.as_dict()) == ("path", {"kind": "path", "name": "lesion.png"})


def test_a_directory_entry_with_a_bytes_name_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "lesion.png").write_bytes(b"abc")
    with os.scandir(os.fsencode(tmp_path)) as entries:
        source = Source.of(next(entries))
    assert (source.kind, source.name, source.read()) == ("path", str(tmp_path / "lesion.png"), b"abc")


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind(make: type) -> None:
    source = Source.of(make(b"abc"))
    assert (source.kind, source.name, source.read()) == ("bytes", "bytes", b"abc")


def test_bytes_are_copied() -> None:
    buffer = bytearray(b"abc")
    source = Source.of(buffer)
    buffer[0] = 0
    assert source.read() == b"abc"


def test_an_array_has_no_encoded_bytes() -> None:
    source = Source.of(np.zeros((64, 64, 3), np.uint8), "frame 7")
    assert (source.kind, source.name) == ("array", "frame 7")
    with pytest.raises(InputError, match="frame 7: an array has no encoded bytes"):
        source.read()


def test_a_frame_records_its_camera_and_time() -> None:
    source = Source.frame(b"abc", "cam0", 1234.5)
    assert source.as_dict() == {"kind": "frame", "name": "cam0 at 1234.500", "camera": "cam0", "captured_at": 1234.5}
    assert source.read() == b"abc"


def test_a_file_of_up_to_half_a_gigabyte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    with path.open("wb") as file:  # with a hole instead of content
        file.truncate(1_000_000)
        assert len(Source.of(path).read()) == 1_000_000
        file.truncate(512 * 1024 * 1024 + 1)
    with pytest.raises(InputError, match=r"scan\.tif: cannot be read: larger than 512 MB$"):
        Source.of(path).read()


def test_an_unreadable_file_is_named_with_the_reason(picture: Path) -> None:
    with pytest.raises(InputError, match=r"below: cannot be read: Not a directory$"):
        Source.of(picture / "below").read()
    with pytest.raises(InputError, match=r"cannot be read: (stat: )?embedded null (byte|character in path)$"):
        Source.of("a\0b").read()


def test_a_source_is_a_source() -> None:
    source = Source.of(b"abc")
    assert Source.of(source) is source


@pytest.mark.parametrize("thing", [None, 7, [1, 2], {"a": 1}])
def test_anything_else_is_refused(thing: object) -> None:
    with pytest.raises(InputError, match="not a path, bytes, a uint8 RGB array or a Pillow image"):
        Source.of(thing)


def test_a_source_does_not_show_its_content() -> None:
    assert "abc" not in repr(Source.of(b"abc", "x"))
