"""Long passes: killed and taken up again, and no larger for more images. With the embedded model, no training."""

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
        return super().prepare(np.full((240, 320, 3), 128, np.uint8))  # anew each time: .2 MB

    def predict(self, prepared):  # the network itself, but for one run, would take minutes
        self.said = getattr(self, "said", None) or super().predict(prepared)
        return self.said

count = int(sys.argv[1])
items = tuple(Item(Path(f"{number}.jpg"), "nv", str(number)) for number in range(count))
answers = infer(Painted.load(threads=1), Manifest(items, Path("painted")))
assert len(answers.kept) == count
print(peak())
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred and fifty drawn shapes as a CSV file that calls them by names that the embedded model knows."""
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


def command(data: Path, out: Path, *more: str, name: str = "predict") -> list[str]:
    told = ["--data", str(data), "--split", "all", "--out", str(out), "--threads", "1"]
    return [sys.executable, "-m", "spot_edge.cli", "bench", name, MODEL, *told, *more]


def kill_when(asked: list[str], shows: str) -> None:
    """Run a command at a terminal of its own until that `shows` something."""
    screen, side = pty.openpty()
    running = subprocess.Popen(asked, stdout=side, stderr=side)
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


def test_a_killed_run_is_taken_up_again(data: Path, classifier: Classifier, tmp_path: Path) -> None:
    kill_when(command(data, tmp_path), r" [1-9]\d+/450\s+00:00:\d\d")  # some tens are done; how long the rest will take

    partial = tmp_path / "predictions.partial"
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    before = len(partial.read_bytes().splitlines()) - 1
    assert 10 <= before < 450
    again = subprocess.run(command(data, tmp_path), capture_output=True, text=True, check=False)
    assert again.returncode == OutputError.exit_code
    assert again.stderr.splitlines()[-1].endswith("left by an interrupted run: go on with --resume, or remove it")

    resumed = subprocess.run(command(data, tmp_path, "--resume"), capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]
    found, whole = load_predictions(tmp_path / "predictions.npz"), predict(classifier, read_manifest(data))
    for name in ("truth", "scores", "logits", "groups", "images"):
        assert getattr(found, name).tolist() == getattr(whole, name).tolist(), name


def test_a_killed_comparison_is_taken_up_again(data: Path, classifier: Classifier, tmp_path: Path) -> None:
    asked = command(data, tmp_path, "--baseline", MODEL, name="drift")
    kill_when(asked, r" 450/450.* [1-9]\d+/450\s+00:00:\d\d")  # the baseline is through, the other is not
    assert {path.name for path in tmp_path.iterdir()} == {"predictions-0-int8.npz", "predictions-1-int8.partial"}
    again = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert again.returncode == OutputError.exit_code
    assert "left by an interrupted run: go on with --resume, or name another folder" in again.stderr
    resumed = subprocess.run([*asked, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    kept = {"predictions-0-int8.npz", "predictions-1-int8.npz", "report.html", "report.json"}
    assert {path.name for path in tmp_path.iterdir()} == kept
    whole = predict(classifier, read_manifest(data))
    for number in range(2):
        np.testing.assert_array_equal(
            load_predictions(tmp_path / f"predictions-{number}-int8.npz").scores, whole.scores
        )
    finished = subprocess.run([*asked, "--resume"], capture_output=True, text=True, check=False)
    assert finished.returncode == OutputError.exit_code
    assert "exists already" in finished.stderr


def test_only_what_is_missing_is_run_and_half_a_line_is_not_believed(
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
    partial.write_bytes(content[:-9] + b"\0\0\0")  # as after a loss of power
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
    with pytest.raises(OutputError, match="exists already"):
        predict_into(file, classifier, part, embeddings=True)
    with pytest.raises(DataError, match="answers of another model, runtime or list of images"):
        predict_into(file, classifier, replace(part, items=part.items[1:]), embeddings=True, resume=True)


def test_only_the_same_run_is_gone_on_with(data: Path, classifier: Classifier, tmp_path: Path) -> None:
    part = replace(read_manifest(data), items=read_manifest(data).items[:3])
    file, partial = tmp_path / "p.npz", tmp_path / "p.partial"
    missing = replace(part, items=(*part.items[:2], Item(Path("missing.jpg"), "nv", "x")))
    with pytest.raises(DataError, match=r"1 of 3 images \(33.3 %\) cannot be judged, first missing\.jpg: no such file"):
        predict_into(file, classifier, missing)
    with pytest.raises(DataError, match=r"p\.partial: was begun with another list of images: remove it, or name"):
        predict_into(file, classifier, part, resume=True)
    with pytest.raises(DataError, match="another list of images, answer to --embeddings"):
        predict_into(file, classifier, part, embeddings=True, resume=True)
    partial.write_bytes(b"something else\n")
    with pytest.raises(DataError, match="not a file of unfinished predictions"):
        predict_into(file, classifier, part, resume=True)
    partial.write_bytes(b"")  # killed before the first line was whole
    assert len(predict_into(file, classifier, part, resume=True).truth) == 3


def test_ten_times_as_many_images_take_no_more_memory(peak: str) -> None:
    few, many = (
        int(subprocess.run([sys.executable, "-c", peak + _MEMORY, str(count)], capture_output=True, check=True).stdout)
        for count in (200, 2000)
    )
    assert many < few + 100_000  # kB: the 1,800 pictures more are 400 MB
