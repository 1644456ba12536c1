"""`spot-edge classify` on many images: in parallel, in order, while the folder changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest


def lines(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.decode().splitlines()]


def without_times(output: bytes) -> list[dict]:
    return [{key: value for key, value in record.items() if key != "timings_ms"} for record in lines(output)]


@pytest.fixture
def folder(tmp_path: Path, draw, encode) -> Path:
    """Forty different images of varying sizes; every seventh is damaged."""
    inside = tmp_path / "scans"
    inside.mkdir()
    for number in range(40):
        picture = np.roll(draw(80 + 37 * (number % 5), 80), 5 * number, axis=1)
        content = encode(picture, "JPEG" if number % 2 else "PNG")
        (inside / f"{number:02}.jpg").write_bytes(content[:60] if number % 7 == 3 else content)
    return inside


def test_predictions_and_their_order_do_not_depend_on_the_threads(spot_edge, folder, classifier) -> None:
    alone = spot_edge("classify", folder, "--json", "--threads", "1")
    records = without_times(alone.stdout)
    assert [Path(record["source"]["name"]) for record in records] == sorted(folder.iterdir())
    assert len({record["ranked"][0]["score"] for record in records if "error" not in record}) > 20
    for record in records[:3]:
        assert record["ranked"] == classifier.classify(record["source"]["name"]).as_dict()["ranked"]
    for threads in ("2", "3", "8"):
        together = spot_edge("classify", folder, "--json", "--threads", threads)
        assert without_times(together.stdout) == records
        assert (together.returncode, together.stderr) == (alone.returncode, alone.stderr) == (3, alone.stderr)
    assert alone.stderr.splitlines()[-1] == b"spot-edge: 6 of 40 images could not be classified"


def test_results_are_named_in_the_order_of_the_images(spot_edge, folder, tmp_path) -> None:
    """Forty images of one name: the number that each gets must not depend on which is ready first."""
    for path in list(folder.iterdir()):
        (folder / path.stem).mkdir()
        path.rename(folder / path.stem / "mole.jpg")
    kept = [tmp_path / threads for threads in ("1", "4")]
    for out in kept:
        pattern = folder / "*" / "mole.jpg"
        result = spot_edge("classify", pattern, "--save", out, "--heatmap", out, "--threads", out.name)
        assert result.returncode == 3
    names = [sorted(path.name for path in out.iterdir()) for out in kept]
    assert names[0] == names[1]
    assert len(names[0]) == 3 * 34
    for name in names[0]:
        contents = [(out / name).read_bytes() for out in kept]
        if name.endswith(".json"):
            assert len({json.loads(content)["source"]["name"] for content in contents}) == 1
        else:
            assert contents[0] == contents[1]


def test_standard_input_among_many(spot_edge, folder, lesion, classifier) -> None:
    named = sorted(folder.iterdir())
    names = [*named[:9], "-", *named[9:], "-"]
    result = spot_edge("classify", *names, "--json", "--threads", "3", input=lesion)
    records = lines(result.stdout)
    assert [record["source"]["name"] for record in records] == [str(name) for name in names]
    assert records[9]["ranked"] == classifier.classify(lesion).as_dict()["ranked"]
    assert "named twice" in records[-1]["error"]


def test_a_folder_that_changes_while_it_is_read(folder, lesion, start) -> None:
    """Files present at the start are classified or reported missing; files added later are ignored."""
    first, *others = sorted(folder.iterdir())
    first.rename(folder.parent / "first.jpg")
    running = start(
        "classify", folder.parent / "first.jpg", "-", folder, "--json", "--threads", "2", stdin=subprocess.PIPE
    )
    seen = running.stdout.readline()
    gone, changed = others[-1], others[-2]
    gone.unlink()
    changed.write_bytes(b"")
    (folder / "zz.jpg").write_bytes(lesion)
    rest, stderr = running.communicate(lesion, timeout=60)
    records = lines(seen + rest)
    assert running.returncode == 3
    assert [record["source"]["name"] for record in records[2:]] == [str(path) for path in others]
    assert records[-1]["error"] == f"{gone}: no such file"
    assert records[-2]["error"] == f"{changed}: empty"
    assert f"spot-edge: {gone}: no such file" in stderr.decode().splitlines()


@pytest.mark.skipif(os.name != "posix", reason="POSIX pipes")
def test_the_first_of_very_many_images_is_classified_at_once(tmp_path, lesion, start) -> None:
    (tmp_path / "one.png").write_bytes(lesion)
    for number in range(20_000):
        os.link(tmp_path / "one.png", tmp_path / f"{number:05}.png")
    running = start("classify", tmp_path, "--json")
    (first,) = lines(running.stdout.readline())
    assert first["source"]["name"] == str(tmp_path / "00000.png")
    running.stdout.close()
    assert (running.wait(60), running.stderr.read()) == (0, b"")


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing_half_written(number: int, folder, start, tmp_path) -> None:
    out, printed = tmp_path / "kept", tmp_path / "predictions.jsonl"
    names = sorted(folder.iterdir()) * 5
    running = start("classify", *names, "--json", "--out", printed, "--save", out, "--heatmap", out, "--threads", "3")
    while not (printed.exists() and printed.read_bytes().count(b"\n") > 4):
        assert running.poll() is None
    running.send_signal(number)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert stderr.splitlines()[-1] == b"interrupted"
    assert b"Traceback" not in stderr
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert 0 < len(lines(printed.read_bytes())) < len(names)
    assert printed.read_bytes().endswith(b"\n")
