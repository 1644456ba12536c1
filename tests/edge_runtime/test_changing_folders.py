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

posix = pytest.mark.skipif(os.name != "posix", reason="NOT RUN: this system locks files in use")
FILES = 100_000
LINKS = 25_000  # of one file: file systems allow 32,000 or more


@pytest.fixture
def held(start, tmp_path: Path) -> Callable[..., tuple[int, list[dict], list[str]]]:
    """held(change, *arguments): run a command, and call `change()` while it works.

    A full pipe holds the command at one of its first predictions until `change()` is done. Returns the exit code, the
    predictions and the error lines.
    """

    def run(change: Callable[[], object], *arguments: object) -> tuple[int, list[dict], list[str]]:
        ours, theirs = os.pipe()
        if sys.platform == "linux":
            import fcntl

            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
        with open(tmp_path / "errors", "wb+") as errors, open(ours, "rb") as output:
            running = start("classify", *arguments, "--json", stdout=theirs, stderr=errors)
            os.close(theirs)
            first = output.readline()
            change()
            records = [json.loads(line) for line in [first, *output]]
            code = running.wait(120)
            errors.seek(0)
            return code, records, errors.read().decode().splitlines()

    return run


@pytest.fixture
def scans(tmp_path: Path, many: list[Path]) -> Path:
    """A folder with the images of `many`, which are read in the order of their names."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for path in many:
        path.rename(folder / path.name)
    return folder


@posix
def test_each_file_is_classified_as_it_is_when_read(held, scans: Path, lesion: bytes) -> None:
    gone, short, empty, folder, longer = (scans / f"{number}.png" for number in range(295, 300))

    def change() -> None:
        gone.unlink()
        short.write_bytes(lesion[: len(lesion) // 2])
        empty.write_bytes(b"")
        folder.unlink()
        folder.mkdir()
        longer.write_bytes(lesion + bytes(100_000))
        (scans / "new.png").write_bytes(lesion)

    code, records, errors = held(change, scans)
    assert code == 3
    assert len(records) == 300
    wrong = {os.path.basename(record["source"]["name"]): record["error"] for record in records if "error" in record}
    assert sorted(wrong) == [path.name for path in (gone, short, empty, folder)]
    for path, why in {gone: "no such file", short: "damaged image", empty: "empty", folder: "a folder"}.items():
        assert wrong[path.name].startswith(f"{path}: {why}")
    assert len(errors) == 5
    assert errors[-1].endswith("4 of 300 images could not be classified")


@posix
def test_a_folder_that_is_removed(held, scans: Path) -> None:
    code, records, errors = held(lambda: scans.rename(scans.with_name("elsewhere")), scans)
    missed = [record["error"] for record in records if "error" in record]
    assert code == 3
    assert len(records) == 300
    assert 0 < len(missed) < 300
    assert all(message.endswith(": no such file") for message in missed)
    assert len(errors) == len(missed) + 1


@posix
def test_removing_the_output_folder_exits_with_6(held, scans: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    # Rename in one step: while a folder is emptied, another prediction could be saved in it.
    code, records, errors = held(lambda: kept.rename(tmp_path / "gone"), scans, "--save", kept)
    assert code == 6
    assert 0 < len(records) < 300
    (error,) = errors
    assert error.endswith(": cannot be written: No such file or directory")
    assert not kept.exists()


@posix
def test_a_file_that_is_written_while_it_is_read(spot_edge, tmp_path: Path, draw, encode) -> None:
    """As by a camera's program that saves into the folder: the file is cut and completed again, without a pause."""
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
        result = spot_edge("classify", *[path] * 60, "--json")
    finally:
        done.set()
        writer.join()
    records = [json.loads(line) for line in result.stdout.splitlines()]
    wrong = {record["error"] for record in records if "error" in record}
    assert len(records) == 60
    assert result.returncode == (3 if wrong else 0)
    assert all(message.startswith(f"{path}: damaged image") for message in wrong)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, draw, encode) -> Iterator[Path]:
    """A hundred thousand images in four folders: links to four files."""
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
            pytest.skip(f"NOT RUN: this file system cannot link a hundred thousand files ({error.strerror})")
    yield folder
    shutil.rmtree(folder)


@posix
def test_a_reader_may_close_early_on_a_hundred_thousand_files(crowd: Path, start) -> None:
    running = start("classify", crowd, "--json")
    assert running.stdout.readline()
    running.stdout.close()
    assert (running.wait(60), running.stderr.read()) == (0, b"")


@posix
def test_a_hundred_thousand_files_as_a_camera(crowd: Path, spot_edge, tmp_path: Path) -> None:
    result = spot_edge("camera", "capture", crowd, "-o", tmp_path / "first.jpg")
    assert result.returncode == 0
    assert (tmp_path / "first.jpg").read_bytes() == (crowd / "0" / "00000.jpg").read_bytes()
    kiosk = spot_edge("kiosk", crowd, input=b"\nq\n")
    assert kiosk.stdout.count(b"Picture taken") == 1


@posix
def test_predictions_are_saved_among_a_hundred_thousand_files(crowd: Path, spot_edge, picture: Path) -> None:
    kept = crowd / "3"
    shutil.copy(picture, kept / "00007.png")
    result = spot_edge("classify", kept / "00007.png", "--save", kept)
    assert result.returncode == 0
    assert (kept / "00007-2.jpg").exists()
    assert (kept / "00007-2.json").exists()
    assert len(os.listdir(kept)) == LINKS + 3
