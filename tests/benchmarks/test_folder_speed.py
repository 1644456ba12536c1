"""How much faster a folder is judged on all processors: what the comparison reports, and that memory does not grow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.drift.lines import folder_lines
from spot_bench.speed.folder import EARLY, measure_folder
from spot_edge.errors import CheckError, InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures enough that memory would have grown, and one that is damaged."""
    (tmp_path / "0.jpg").write_bytes(encode_jpeg(draw_lesion(seed=1)))
    for number in range(1, 3 * EARLY):
        os.link(tmp_path / "0.jpg", tmp_path / f"{number}.jpg")
    (tmp_path / "bad.jpg").touch()
    return tmp_path


def test_a_folder_in_turns(folder: Path) -> None:
    done = []
    report = measure_folder(folder, turns=2, done=lambda: done.append(1))
    assert (report["pictures"], report["turns"], len(done)) == (3 * EARLY + 1, 2, 2)
    ratio = report["times_as_fast"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert ratio["value"] == pytest.approx(report["alone"]["seconds"] / report["together"]["seconds"])
    assert report["met"] is (ratio["value"] >= report["target"])
    assert report["alone"]["processor_ms_a_picture"] > 0
    for key in ("alone", "together"):
        memory = report["memory"][key]
        assert (memory["early_kb"] is None) is not Path("/proc/self/status").exists()
        if memory["early_kb"] is not None:
            assert 1 <= memory["peak_kb"] / memory["early_kb"] < 1.05
    said = list(folder_lines(report))
    assert any(line.startswith("one after the other") for line in said)
    assert any(line.startswith("times as fast: ") for line in said)


def test_what_cannot_be_measured_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures in this folder"):
        measure_folder(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(CheckError, match="ended with exit code 4"):
        measure_folder(tmp_path, tmp_path / "missing.tflite")
