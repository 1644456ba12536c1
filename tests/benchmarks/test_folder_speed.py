"""`bench folder`: the report of the comparison, and that memory does not grow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.speed.folder import EARLY, measure_folder
from spot_bench.speed.lines import folder_lines
from spot_edge.errors import CheckError, InputError

pytestmark = pytest.mark.long


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Enough images to see memory grow, and a damaged one."""
    (tmp_path / "0.jpg").write_bytes(encode_jpeg(draw_lesion(seed=1)))
    for number in range(1, 3 * EARLY):
        os.link(tmp_path / "0.jpg", tmp_path / f"{number}.jpg")
    (tmp_path / "bad.jpg").touch()
    return tmp_path


def test_single_thread_and_default_alternate(folder: Path) -> None:
    done = []
    report = measure_folder(folder, repeats=2, done=lambda: done.append(1))
    assert (report["images"], report["repeats"], len(done)) == (3 * EARLY + 1, 2, 2)
    ratio = report["speedup"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert ratio["value"] == pytest.approx(report["single_thread"]["seconds"] / report["default"]["seconds"])
    assert report["met"] is (ratio["value"] >= report["target"])
    assert report["single_thread"]["processor_ms_per_image"] > 0
    for key in ("single_thread", "default"):
        memory = report["memory"][key]
        assert (memory["early_kb"] is None) is not Path("/proc/self/status").exists()
        if memory["early_kb"] is not None:
            assert 1 <= memory["peak_kb"] / memory["early_kb"] < 1.05
    lines = list(folder_lines(report))
    assert any(line.startswith("one thread") for line in lines)
    assert any(line.startswith("speedup of medians: ") for line in lines)


def test_empty_folders_and_bad_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in this folder"):
        measure_folder(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(CheckError, match="exited with 4"):
        measure_folder(tmp_path, tmp_path / "missing.tflite")
