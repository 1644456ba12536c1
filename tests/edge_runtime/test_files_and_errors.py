"""Files are written completely or not at all, and every error class has an exit code."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from spot_edge import errors
from spot_edge.errors import EXIT_CODES, OutputError, SpotError, one_line
from spot_edge.files import make_folder, write_file

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SpotError)]


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    for content in (b"first", b"second, longer", b""):
        write_file(tmp_path / "a.json", content)
        assert (tmp_path / "a.json").read_bytes() == content
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_new_file_respects_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("interruption", "raised"), [(OSError(28, "No space"), OutputError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(interruption, raised, tmp_path, monkeypatch) -> None:
    write_file(tmp_path / "a.json", b"old")

    def fail(handle: int) -> None:
        raise interruption

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(raised):
        write_file(tmp_path / "a.json", b"new")
    assert os.listdir(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NOT RUN: this system has no named pipes")
def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe: cannot be written: not a regular file"):
        write_file(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


@pytest.mark.skipif(os.name != "posix", reason="NOT RUN: other systems report a long name as a missing folder")
def test_a_name_that_is_too_long_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"x\.jpg: cannot be written: File name too long"):
        write_file(tmp_path / f"{'x' * 300}.jpg", b"")


def test_a_folder_that_may_not_be_entered_cannot_be_written_to(tmp_path: Path, monkeypatch) -> None:
    def deny(path: Path, **_: object) -> os.stat_result:  # root may enter any folder
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(Path, "stat", deny)
    with pytest.raises(OutputError, match=r"a\.jpg: cannot be written: Permission denied"):
        write_file(tmp_path / "a.jpg", b"")


def test_a_missing_folder_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.json: cannot be written: No such file"):
        write_file(tmp_path / "gone" / "a.json", b"")


def test_a_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    made = make_folder(tmp_path / "a" / "b")
    assert made.is_dir()
    assert make_folder(made) == made


def test_a_folder_below_a_file_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot create this folder"):
        make_folder(tmp_path / "file" / "below")


def test_every_error_has_a_documented_code() -> None:
    codes = [kind.exit_code for kind in KINDS]
    assert len(codes) == len(set(codes)) == 8
    assert set(codes) <= set(EXIT_CODES)


def test_codes_that_shells_and_click_use_are_documented() -> None:
    assert {0, 1, 2, 130} <= set(EXIT_CODES)


def test_a_line_for_a_terminal_is_one_line_without_control_characters() -> None:
    assert one_line("läsion\n\x1b[31m\udcff 'a b'.jpg") == "läsion\\n\\x1b[31m\\udcff 'a b'.jpg"
