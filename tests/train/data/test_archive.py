"""Hostile and damaged ZIP files are refused, and nothing is left behind."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spot_edge.errors import DataError, OutputError
from spot_train.data import archive as module
from spot_train.data.archive import open_archive, unpack

Zipped = Callable[[dict[str, bytes]], bytes]


def unpacked(content: bytes, folder: Path, *wanted: str, max_bytes: int = 10**6) -> list[str]:
    path = folder / "a.zip"
    path.write_bytes(content)
    unpack([path], folder / "images", wanted, max_bytes, lambda step: None)
    return sorted(entry.name for entry in (folder / "images").iterdir())


def test_only_wanted_images_and_texts_are_unpacked_flat(tmp_path: Path, zipped: Zipped) -> None:
    content = zipped({"x/y/a.jpg": b"1", "x/b.jpg": b"2", "c.exe": b"3", "x/LICENSE.txt": b"4", "x/": b""})
    assert unpacked(content, tmp_path, "a") == ["a-LICENSE.txt", "a.jpg"]


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "x/../../a.jpg", "C:/a.jpg", "x\\..\\a.jpg"])
def test_names_outside_the_folder_are_refused(tmp_path: Path, zipped: Zipped, name: str) -> None:
    with pytest.raises(DataError, match="outside its folder"):
        unpacked(zipped({name: b"1"}), tmp_path, "a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_odd_file_names_are_refused(tmp_path: Path, zipped: Zipped) -> None:
    with pytest.raises(DataError, match="not a plain file name"):
        unpacked(zipped({"a\n.jpg": b"1"}), tmp_path, "a\n")


def test_links_are_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        member = zipfile.ZipInfo("a.jpg")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        unpacked(packed.getvalue(), tmp_path, "a")


def test_content_above_the_limit_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(5_000_000))
    with pytest.raises(DataError, match="unpacks to 5000000 bytes; the limit is 1000000"):
        unpacked(packed.getvalue(), tmp_path, "a")


def test_content_longer_than_declared_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(5_000_000))
    lied = packed.getvalue().replace((5_000_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    with pytest.raises(DataError, match=r"damaged|longer"):
        unpacked(lied, tmp_path, "a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_damaged_and_repeated_images_are_refused(tmp_path: Path, zipped: Zipped) -> None:
    content = bytearray(zipped({"a.jpg": b"content of the image"}))
    content[40] ^= 1
    with pytest.raises(DataError, match=r"a\.jpg is damaged"):
        unpacked(bytes(content), tmp_path, "a")
    with pytest.raises(DataError, match="two images are called a"):
        unpacked(zipped({"a.jpg": b"1", "b/a.png": b"2"}), tmp_path, "a")


def test_encrypted_members_are_refused(tmp_path: Path, zipped: Zipped) -> None:
    content = bytearray(zipped({"a.jpg": b"1"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="encrypted"), open_archive(tmp_path / "a.zip", "a.zip", 10):
        pass


def test_too_little_disk_space_is_reported(tmp_path: Path, zipped: Zipped, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        free = 3

    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: Full)
    with pytest.raises(OutputError, match="5 bytes are needed, but only 3 are free"):
        unpacked(zipped({"a.jpg": b"12345"}), tmp_path, "a")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]
