"""Long runs resume after a kill, and more images take no more memory. With the embedded model, no training."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import Item, Manifest, read_manifest, write_manifest
from spot_bench.data.predictions import load_predictions, predict, predict_into
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, OutputError

_MEMORY = """
import sys
from pathlib import Path
import numpy as np
from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.inference import infer
from spot_edge.classifier import Classifier

class Painted(Classifier):
    def prepare(self, source):
        return super().prepare(np.full((240, 320, 3), 128, np.uint8))  # a new array of .2 MB each time

    def predict(self, prepared):  # running the network each time would take minutes
        self.cached = getattr(self, "cached", None) or super().predict(prepared)
        return self.cached

count = int(sys.argv[1])
items = tuple(Item(Path(f"{number}.jpg"), "nv", str(number)) for number in range(count))
outputs = infer(Painted.load(threads=1), Manifest(items, Path("painted")))
assert len(outputs.kept) == count
print(peak())
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make 450 drawn shapes and a CSV file that gives them labels of the embedded model."""
    folder = tmp_path_factory.mktemp("data")
    draw_shapes(folder, per_class=150, width=64, height=48)
    found = read_manifest(folder)
    names = {"circle": "nv", "square": "mel", "triangle": "bkl"}
    items = tuple(replace(item, label=names[item.label]) for item in found.items)
    write_manifest(Manifest(items, folder), folder / "data.csv")
    return folder / "data.csv"


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(threads=1)


MODEL = str(Path(sys.modules[Classifier.__module__].__file__ or "").parent / "models" / "spot-int8.tflite")


def command(data: Path, out: Path, *extra: str, name: str = "predict") -> list[str]:
    options = ["--data", str(data), "--split", "all", "--out", str(out), "--threads", "1"]
    return [sys.executable, "-m", "spot_edge.cli", "bench", name, MODEL, *options, *extra]


def kill_when(arguments: list[str], shows: str) -> None:
    """Run a command on its own terminal and kill it once the terminal `shows` something."""
    screen, side = pty.openpty()
    running = subprocess.Popen(arguments, stdout=side, stderr=side)
    os.close(side)
    shown = ""
    while not re.search(shows, shown, re.DOTALL):
        try:
            shown += os.read(screen, 1000).decode(errors="replace")
        except OSError:
            raise AssertionError(shown) from None
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    os.close(screen)


def test_a_killed_run_resumes(data: Path, classifier: Classifier, tmp_path: Path) -> None:
    kill_when(command(data, tmp_path), r" [1-9]\d+/450\s+00:00:\d\d")  # some tens are done; the rest takes seconds

    partial = tmp_path / "predictions.partial"
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    before = len(partial.read_bytes().splitlines()) - 1
    assert 10 <= before < 450
    again = subprocess.run(command(data, tmp_path), capture_output=True, text=True, check=False)
    assert again.returncode == OutputError.exit_code
    assert again.stderr.splitlines()[-1].endswith("left by an interrupted run. Continue it with --resume, or remove it")

    resumed = subprocess.run(command(data, tmp_path, "--resume"), capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]
    found, whole = load_predictions(tmp_path / "predictions.npz"), predict(classifier, read_manifest(data))
    for name in ("truth", "scores", "logits", "groups", "images"):
        assert getattr(found, name).tolist() == getattr(whole, name).tolist(), name


@pytest.mark.long
def test_a_killed_comparison_resumes(data: Path, classifier: Classifier, tmp_path: Path) -> None:
    arguments = command(data, tmp_path, "--baseline", MODEL, name="drift")
    kill_when(arguments, r" 450/450.* [1-9]\d+/450\s+00:00:\d\d")  # the baseline is done, the other is not
    assert {path.name for path in tmp_path.iterdir()} == {"predictions-0-int8.npz", "predictions-1-int8.partial"}
    again = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert again.returncode == OutputError.exit_code
    assert "left by an interrupted run. Continue it with --resume, or name another folder" in again.stderr
    resumed = subprocess.run([*arguments, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    kept = {"predictions-0-int8.npz", "predictions-1-int8.npz", "report.html", "report.json"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    whole = predict(classifier, read_manifest(data))
    for number in range(2):
        np.testing.assert_array_equal(
            load_predictions(tmp_path / f"predictions-{number}-int8.npz").scores, whole.scores
        )
    finished = subprocess.run([*arguments, "--resume"], capture_output=True, text=True, check=False)
    assert finished.returncode == OutputError.exit_code
    assert "already exists" in finished.stderr


def test_only_missing_images_run_and_an_incomplete_line_is_dropped(
    data: Path, classifier: Classifier, tmp_path: Path
) -> None:
    part = replace(read_manifest(data), items=read_manifest(data).items[:12])
    file = tmp_path / "p.npz"

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_into(file, classifier, part, interrupt, embeddings=True)
    partial = tmp_path / "p.partial"
    content = partial.read_bytes()
    partial.write_bytes(content[:-9] + b"\0\0\0")  # as after a power cut
    seen: list[tuple[int, int]] = []
    found = predict_into(
        file, classifier, part, lambda done, total: seen.append((done, total)), embeddings=True, resume=True
    )
    assert seen == [(number, 8) for number in range(1, 9)]
    whole = predict(classifier, part, embeddings=True)
    np.testing.assert_array_equal(found.scores, whole.scores)
    np.testing.assert_array_equal(found.embeddings, whole.embeddings)
    finished = predict_into(file, classifier, part, interrupt, embeddings=True, resume=True)
    assert finished.scores.tolist() == found.scores.tolist()
    with pytest.raises(OutputError, match="already exists"):
        predict_into(file, classifier, part, embeddings=True)
    with pytest.raises(DataError, match="predictions of another model, runtime or list of images"):
        predict_into(file, classifier, replace(part, items=part.items[1:]), embeddings=True, resume=True)


def test_only_the_same_run_resumes(data: Path, classifier: Classifier, tmp_path: Path) -> None:
    part = replace(read_manifest(data), items=read_manifest(data).items[:3])
    file, partial = tmp_path / "p.npz", tmp_path / "p.partial"
    missing = replace(part, items=(*part.items[:2], Item(Path("missing.jpg"), "nv", "x")))
    with pytest.raises(DataError, match=r"1 of 3 images \(33.3 %\) cannot be .*: missing\.jpg: no such file"):
        predict_into(file, classifier, missing)
    with pytest.raises(DataError, match=r"p\.partial: started with another list of images\. Remove it, or name"):
        predict_into(file, classifier, part, resume=True)
    with pytest.raises(DataError, match="another list of images, choice of --embeddings"):
        predict_into(file, classifier, part, embeddings=True, resume=True)
    partial.write_bytes(b"something else\n")
    with pytest.raises(DataError, match="not a file of unfinished predictions"):
        predict_into(file, classifier, part, resume=True)
    partial.write_bytes(b"")  # killed before the first line was complete
    assert len(predict_into(file, classifier, part, resume=True).truth) == 3


def test_ten_times_as_many_images_take_no_more_memory(peak: str) -> None:
    few, many = (
        int(subprocess.run([sys.executable, "-c", peak + _MEMORY, str(count)], capture_output=True, check=True).stdout)
        for count in (200, 2000)
    )
    assert many < few + 100_000  # kB: 1,800 more images are 400 MB
