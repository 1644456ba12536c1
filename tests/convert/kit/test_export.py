"""What an exported kit holds, and folders that are none."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from imitation import App, stock_way
from PIL import Image

from spot_bench.data.drawn import draw_lesion, draw_shape
from spot_convert.kit import export
from spot_convert.kit.vectors import read_kit
from spot_edge import read_model
from spot_edge.errors import DataError, OutputError


def test_the_kit_holds_what_an_embedder_needs(kit: Path) -> None:
    model = read_model()
    assert (kit / "spot-int8.tflite").read_bytes() == model.content
    assert (kit / "labels.txt").read_text().split() == [label.label for label in model.spec.labels]
    assert model.spec.notice in (kit / "LICENSE").read_text()
    assert "CC BY-NC" in (kit / "LICENSE").read_text()
    assert (kit / "vectors.json").stat().st_size < 1_000_000
    record = json.loads((kit / "vectors.json").read_text())
    assert record["model"]["id"] == model.id == (kit / "spot-int8.tflite").read_bytes()[-64:].decode()
    shapes = {(image["width"], image["height"]) for image in record["images"]}
    size = model.spec.image.size
    assert (size, size) in shapes
    assert any(width < height for width, height in shapes)
    assert any(width == height != size for width, height in shapes)
    assert len(record["images"]) >= 8
    readme = (kit / "README.md").read_text()
    assert model.id in readme
    assert "$" not in readme


def test_the_expected_figures_are_those_of_an_app_of_our_own_writing(kit: Path) -> None:
    record = json.loads((kit / "vectors.json").read_text())
    stock = record["tolerance"]["score"]  # one grey level of rounding apart, as kernels are
    for way, app, tolerance in (("spot-edge", App(digests=True), 2e-5), ("stock", App(stock_way), stock)):
        answers = {entry["image"]: entry for entry in app.run(kit)["results"]}
        for image in record["images"]:
            answer = answers[image["image"]]
            assert answer["scores"] == pytest.approx(image["answers"][way]["scores"], abs=tolerance)
            if way == "spot-edge":
                assert answer["input_sha256"] == image["answers"][way]["input_sha256"]
                picture = np.asarray(Image.open(kit / image["input"]))
                assert hashlib.sha256(picture.tobytes()).hexdigest() == answer["input_sha256"]


def test_a_picture_that_was_changed_or_lost_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _small_kit(tmp_path / "kit", monkeypatch)
    (path,) = (made / "vectors").glob("1-*")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match="not the picture that the kit was made with"):
        read_kit(made)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_kit(made)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "not a kit"), ("{", "not JSON"), ("[]", "not what"), ('{"schema":2}', "schema 2")]
)
def test_a_folder_that_is_no_kit_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "vectors.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_kit(tmp_path)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (_small_kit(tmp_path / name, monkeypatch) for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 9
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_in_use_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export.export_kit(read_model(), tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        export.export_kit(read_model(), tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _small_kit(tmp_path / "kit", monkeypatch)
    assert list(tmp_path.iterdir()) == []


def _small_kit(out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit of two quickly drawn pictures."""
    pictures = {"1-a.png": draw_lesion(1, 64, 48), "2-b.png": draw_shape("circle", 2, 60, 80)}
    monkeypatch.setattr(export, "draw_pictures", lambda size: pictures)
    return export.export_kit(read_model(), out)
