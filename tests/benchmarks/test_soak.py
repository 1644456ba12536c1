"""`bench soak`: memory and descriptors stay constant, and growth is reported. Times are not tested here."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.speed.lines import soak_lines
from spot_bench.speed.soak import GROWTH, SLOWEST, WARMUP, broken_limits, repeated_images, soak
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, InputError

pytestmark = pytest.mark.long

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="NOT RUN: no /proc/self/smaps_rollup")


LEAKING = """
import json, mmap, os, sys
from spot_bench.speed.soak import broken_limits, repeated_images, soak
from spot_edge.classifier import Classifier
mapped = []
def leaking():
    for source in repeated_images(sys.argv[1:]):
        mapped.append(mmap.mmap(-1, 2_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        mapped[-1].write(b"x" * len(mapped[-1]))
        os.open(sys.argv[1], os.O_RDONLY)
        yield source
report = soak(Classifier.load(), leaking(), 60, warmup=20)
broken = broken_limits(report | {"clock": "wall", "wall": {"ratio": 1.0}})
print(json.dumps([report["resident"]["growth"], *broken]))
"""


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawn lesions."""
    folder = tmp_path_factory.mktemp("lesions")
    for number in range(4):
        (folder / f"{number}.jpg").write_bytes(encode_jpeg(draw_lesion(number)))
    return folder


@linux
@pytest.mark.parametrize("kind", ["files", "camera"])
def test_memory_and_descriptors_stay(kind: str, folder: Path) -> None:
    """In a new process, free of what other tests left in this one."""
    paths = [str(folder)] if kind == "files" else ["--camera", str(folder)]
    command = [sys.executable, "-m", "spot_edge.cli", "bench", "soak", *paths, "--images", "1000", "--json"]
    ended = subprocess.run(command, capture_output=True, check=False)
    report = json.loads(ended.stdout)
    assert (report["images"], report["refused"]) == (1000, 0)
    assert report["resident"]["n"] == (1000 - WARMUP) // 20 + 1
    assert 0 < report["anonymous"]["first"] < report["resident"]["first"]
    assert report["anonymous"]["growth"] < GROWTH  # a busy system reclaims resident pages, which then return
    assert report["descriptors"]["growth"] == 0
    assert report["wall"]["p50"]["n"] == report["processor"]["p99"]["n"] == 1000 - WARMUP
    assert report["wall"]["p50"]["value"] <= report["wall"]["p99"]["value"]
    broken = broken_limits(report)  # perhaps times, which depend on the machine
    assert ended.returncode == (8 if broken else 0), ended.stderr
    assert all(words in ended.stderr.decode() for words in broken)


@linux
def test_growth_is_found(folder: Path) -> None:
    """In a new process: in one as large as this, reclaimed pages could hide the growth."""
    ended = subprocess.run([sys.executable, "-c", LEAKING, folder], capture_output=True, check=True)
    grown, *broken = json.loads(ended.stdout)
    assert grown > 10 * GROWTH
    assert broken == [f"resident memory grew by {grown / 1e6:.1f} MB", "39 more descriptors are open"]


def test_limits() -> None:
    report = {
        "resident": {"growth": GROWTH - 1},
        "descriptors": {"growth": 0},
        "wall": {"ratio": SLOWEST + 1},
        "processor": {"ratio": SLOWEST},
    }
    assert broken_limits(report | {"clock": "processor"}) == []
    assert broken_limits(report | {"clock": "wall"}) == ["p99 is 4.0 times p50 in wall time"]
    assert broken_limits(report | {"clock": "processor", "processor": {"ratio": None}}) == []
    with pytest.raises(DataError, match="does not report"):
        broken_limits(report | {"clock": "wall", "resident": None})


def test_images_repeat_and_refused_ones_are_counted(folder: Path, tmp_path: Path, classifier: Classifier) -> None:
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n")
    sources = repeated_images([str(folder), str(tmp_path / "bad.png")])
    names = [source.name for source in itertools.islice(sources, 7)]
    assert names[:2] == names[5:]
    assert soak(classifier, sources, 10, warmup=2)["refused"] == 2
    with pytest.raises(InputError, match="matches no file"):
        repeated_images([str(tmp_path / "*.bmp")])


def test_the_report_as_text_and_as_json(folder: Path) -> None:
    """With any exit code, because the limits on times depend on the machine."""
    done = CliRunner().invoke(bench, ["soak", str(folder), "--images", "800", "--json"])
    report = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
    assert report["source"] == {"paths": [str(folder)]}
    assert report["wall"]["ratio"] > 1
    text = "\n".join(soak_lines(report))
    for words in ("800 images in one process, 0 refused", "resident memory, MB", "open descriptors", "p99/p50"):
        assert words in text
    assert CliRunner().invoke(bench, ["soak", "--images", "799"]).exit_code == 2
    assert CliRunner().invoke(bench, ["soak", "a.jpg", "--camera"]).exit_code == 2
