"""Folders that change while they are read, and folders of a hundred thousand files."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="NOT RUN: this system lets nobody change what is in use")
FILES = 100_000
LINKS = 25_000  # of one file: file systems allow 32,000 or more


@pytest.fixture
def held(start, tmp_path: Path) -> Callable[..., tuple[int, list[dict], list[str]]]:
    """held(change, *arguments): exit code, answers and complaints of a command that is held, by a pipe that is full,
    at one of the first answers until `change()` is done."""

    def run(change: Callable[[], object], *arguments: object) -> tuple[int, list[dict], list[str]]:
        ours, theirs = os.pipe()
        if sys.platform == "linux":
            import fcntl

            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
        with open(tmp_path / "complaints", "wb+") as complaints, open(ours, "rb") as answers:
            running = start("classify", *arguments, "--json", stdout=theirs, stderr=complaints)
            os.close(theirs)
            first = answers.readline()
            change()
            records = [json.loads(line) for line in [first, *answers]]
            code = running.wait(120)
            complaints.seek(0)
            return code, records, complaints.read().decode().splitlines()

    return run


@pytest.fixture
def scans(tmp_path: Path, many: list[Path]) -> Path:
    """A folder of `many`, the last ones of which are read when all others are."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for path in many:
        path.rename(folder / path.name)
    return folder


@posix
def test_each_file_is_what_it_is_when_it_is_read(held, scans: Path, lesion: bytes) -> None:
    gone, short, empty, folder, longer = (scans / f"{number}.png" for number in range(295, 300))

    def change() -> None:
        gone.unlink()
        short.write_bytes(lesion[: len(lesion) // 2])
        empty.write_bytes(b"")
        folder.unlink()
        folder.mkdir()
        longer.write_bytes(lesion + bytes(100_000))
        (scans / "new.png").write_bytes(lesion)

    code, records, complaints = held(change, scans)
    assert code == 3
    assert len(records) == 300
    wrong = {os.path.basename(record["source"]["name"]): record["error"] for record in records if "error" in record}
    assert sorted(wrong) == [path.name for path in (gone, short, empty, folder)]
    for path, why in {gone: "no such file", short: "damaged image", empty: "empty", folder: "a folder"}.items():
        assert wrong[path.name].startswith(f"{path}: {why}")
    assert len(complaints) == 5
    assert complaints[-1].endswith("4 of 300 images could not be classified")


@posix
def test_a_folder_that_is_removed(held, scans: Path) -> None:
    code, records, complaints = held(lambda: scans.rename(scans.with_name("elsewhere")), scans)
    missed = [record["error"] for record in records if "error" in record]
    assert code == 3
    assert len(records) == 300
    assert 0 < len(missed) < 300
    assert all(error.endswith(": no such file") for error in missed)
    assert len(complaints) == len(missed) + 1


@posix
def test_a_folder_for_answers_that_is_removed_ends_it_with_6(held, scans: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    # In one step: a folder that is emptied first gets another answer in the meantime.
    code, records, complaints = held(lambda: kept.rename(tmp_path / "gone"), scans, "--save", kept)
    assert code == 6
    assert 0 < len(records) < 300
    (complaint,) = complaints
    assert complaint.endswith(": cannot be written: No such file or directory")
    assert not kept.exists()


@posix
def test_a_file_that_is_written_while_it_is_read(spot_edge, tmp_path: Path, draw, encode) -> None:
    """As by a camera's program that saves into the folder: cut short and longer again, with no pause."""
    whole = encode(draw(600, 450), "JPEG")
    path, done = tmp_path / "live.jpg", threading.Event()
    path.write_bytes(whole)

    def write() -> None:
        while not done.is_set():
            with open(path, "r+b") as file:
                file.truncate(len(whole) // 3)
                file.seek(len(whole) // 3)
                file.write(whole[len(whole) // 3 :])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        ended = spot_edge("classify", *[path] * 60, "--json")
    finally:
        done.set()
        writer.join()
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    wrong = {record["error"] for record in records if "error" in record}
    assert len(records) == 60
    assert ended.returncode == (3 if wrong else 0)
    assert all(error.startswith(f"{path}: damaged image") for error in wrong)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, draw, encode) -> Iterator[Path]:
    """A folder of a hundred thousand pictures in a few folders: links to four of them."""
    folder = tmp_path_factory.mktemp("crowd")
    for number in range(FILES // LINKS):
        inside = folder / f"{number}"
        inside.mkdir()
        first = inside / "00000.jpg"
        first.write_bytes(encode(draw(120 + number, 90), "JPEG"))
        try:
            for link in range(1, LINKS):
                os.link(first, inside / f"{link:05}.jpg")
        except OSError as error:
            shutil.rmtree(folder)
            pytest.skip(f"NOT RUN: no hundred thousand files: this file system links none ({error.strerror})")
    yield folder
    shutil.rmtree(folder)


@posix
def test_a_reader_has_seen_enough_of_a_hundred_thousand_files(crowd: Path, start) -> None:
    running = start("classify", crowd, "--json")
    assert running.stdout.readline()
    running.stdout.close()
    assert (running.wait(60), running.stderr.read()) == (0, b"")


@posix
def test_a_hundred_thousand_files_as_a_camera(crowd: Path, spot_edge, tmp_path: Path) -> None:
    ended = spot_edge("camera", "capture", crowd, "-o", tmp_path / "first.jpg")
    assert ended.returncode == 0
    assert (tmp_path / "first.jpg").read_bytes() == (crowd / "0" / "00000.jpg").read_bytes()
    kiosk = spot_edge("kiosk", crowd, input=b"\nq\n")
    assert kiosk.stdout.count(b"Picture taken") == 1


@posix
def test_answers_are_kept_among_a_hundred_thousand_files(crowd: Path, spot_edge, picture: Path) -> None:
    kept = crowd / "3"
    shutil.copy(picture, kept / "00007.png")
    ended = spot_edge("classify", kept / "00007.png", "--save", kept)
    assert ended.returncode == 0
    assert (kept / "00007-2.jpg").exists()
    assert (kept / "00007-2.json").exists()
    assert len(os.listdir(kept)) == LINKS + 3
