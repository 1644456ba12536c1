"""Several processes, or several runs, that save to one folder: nothing is lost, replaced or mixed up."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spot_edge.commands.records import ResultFiles
from spot_edge.files import write_new_files

EACH = 12  # images


def check(folder: Path) -> dict[str, str]:
    """Check that each record lies beside its own image. Returns the source of each."""
    sources = {}
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text())
        image = next(path.with_suffix(ending) for ending in (".jpg", ".png") if path.with_suffix(ending).exists())
        assert record["saved_image_sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
        sources[path.name] = record["source"]["name"]
    assert len(os.listdir(folder)) == 2 * len(sources)
    return sources


def test_two_processes_with_one_folder(start, tmp_path: Path, draw, encode) -> None:
    names = []
    for patient in ("a", "b"):
        (tmp_path / patient).mkdir()
        for number in range(EACH):
            path = tmp_path / patient / f"{number}.png"
            path.write_bytes(encode(np.roll(draw(120, 80), 7 * number + (patient == "b"), axis=1)))
            names.append(str(path))
    out = tmp_path / "out"
    out.mkdir()
    # The first process stops between listing the folder and its first result until the second one has written all.
    wait = f"""
import os, time
listed = os.listdir
def late(place="."):
    found = listed(place)
    if os.fspath(place) == {str(out)!r}:
        open({str(tmp_path / "listed")!r}, "a").close()
        while not os.path.exists({str(tmp_path / "go")!r}):
            time.sleep(0.01)
    return found
os.listdir = late
"""
    first = start("classify", tmp_path / "a", "--save", out, "--threads", "1", before=wait)
    while not (tmp_path / "listed").exists():
        assert first.poll() is None
    second = start("classify", tmp_path / "b", "--save", out, "--threads", "1")
    assert second.wait() == 0
    (tmp_path / "go").touch()
    assert first.wait() == 0
    assert sorted(check(out).values()) == sorted(names)


def test_many_writers_at_once(tmp_path: Path, classifier, draw, encode) -> None:
    """As two kiosks in one second do, with pictures of the same name."""
    results = []
    for number in range(4):
        prepared = classifier.prepare(encode(np.roll(draw(120, 80), 9 * number, axis=1)))
        results.append(ResultFiles(records=tmp_path).results(prepared, classifier.predict(prepared)))
    writers = [ResultFiles(records=tmp_path) for _ in results]
    meeting, failed = threading.Barrier(len(results)), []

    def write(place: int) -> None:
        try:
            for _ in range(EACH):
                meeting.wait(60)
                writers[place].write("camera-20260101-120000", results[place])
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=write, args=(place,)) for place in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(check(tmp_path)) == EACH * len(results)


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links, as on a memory card"])
def test_files_that_belong_together_are_written_together_or_not_at_all(links: bool, tmp_path, monkeypatch) -> None:
    if not links:

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    pair = [(tmp_path / "a.jpg", b"image"), (tmp_path / "a.json", b"record")]
    (tmp_path / "a.json").write_bytes(b"another record")
    assert not write_new_files(pair)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.json": b"another record"}
    (tmp_path / "a.json").unlink()
    assert write_new_files(pair)
    assert not write_new_files(pair)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.jpg": b"image", "a.json": b"record"}


@pytest.mark.parametrize("before", [KeyboardInterrupt(), OSError(28, "No space")])
def test_an_interruption_between_two_files_leaves_neither(before: BaseException, tmp_path, monkeypatch) -> None:
    link, calls = os.link, []

    def second_fails(*paths: object) -> None:
        calls.append(paths)
        if len(calls) == 2:
            raise before
        link(*paths)

    monkeypatch.setattr(os, "link", second_fails)
    with pytest.raises(Exception if isinstance(before, OSError) else KeyboardInterrupt):
        write_new_files([(tmp_path / "a.jpg", b"image"), (tmp_path / "a.json", b"record")])
    assert os.listdir(tmp_path) == []


def test_a_temporary_file_of_a_killed_process_with_our_number_is_in_nobodys_way(tmp_path, classifier, lesion) -> None:
    """After a power failure a kiosk often gets the same process number again."""
    prepared = classifier.prepare(lesion)
    files = ResultFiles(records=tmp_path)
    for thread in (threading.get_ident(), threading.get_native_id()):
        (tmp_path / f".x.jpg.{os.getpid()}-{thread}").touch()
    files.save("x", prepared, classifier.predict(prepared))
    assert (tmp_path / "x.json").exists()


def test_an_image_with_a_side_that_no_jpeg_can_have(spot_edge, picture, tmp_path) -> None:
    strip = np.zeros((100, 70_000, 3), np.uint8)
    strip[:, 34_900:35_100] = 150
    Image.fromarray(strip).save(tmp_path / "a strip.png")
    kept = tmp_path / "kept"
    result = spot_edge("classify", tmp_path / "a strip.png", picture, "--save", kept, "--heatmap", kept)
    assert result.returncode == 0
    assert {path.name for path in kept.glob("*.*")} == {
        *("a strip.png", "a strip.json", "a strip.heatmap.png"),
        *("lesion.jpg", "lesion.json", "lesion.heatmap.png"),
    }
    with Image.open(kept / "a strip.png") as image:
        assert np.array_equal(np.asarray(image), strip)
    for path in kept.glob("*.heatmap.png"):
        path.unlink()
    check(kept)


def test_a_heat_map_and_an_image_that_want_one_name(spot_edge, tmp_path, encode) -> None:
    strip = encode(np.full((40, 66_000, 3), 120, np.uint8))
    (tmp_path / "in").mkdir()
    for name in ("a.heatmap.gif", "a.png"):  # the image of the first, and the heat map of the second
        (tmp_path / "in" / name).write_bytes(strip)
    kept = tmp_path / "kept"
    assert spot_edge("classify", tmp_path / "in", "--save", kept, "--heatmap", kept).returncode == 0
    assert len(list(kept.iterdir())) == 6


def test_captures_of_two_processes_in_one_second(tmp_path, monkeypatch) -> None:
    from spot_edge.commands import camera

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(camera.time, "strftime", lambda form: "capture-20260101-120000")
    monkeypatch.setattr(os, "listdir", lambda *_: [])  # both have listed the folder before either has written
    saved = [camera._save_under_free_name(content) for content in (b"one", b"two")]
    assert [path.read_bytes() for path in saved] == [b"one", b"two"]
