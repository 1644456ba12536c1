"""The contents of an exported kit, and folders that are not kits."""

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


def test_the_kit_is_complete(kit: Path) -> None:
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


def test_expected_outputs_match_an_independent_app(kit: Path) -> None:
    record = json.loads((kit / "vectors.json").read_text())
    stock = record["tolerance"]["score"]  # both resize with other rounding, by one grey level
    for way, app, tolerance in (("spot-edge", App(digests=True), 2e-5), ("stock", App(stock_way), stock)):
        answers = {entry["image"]: entry for entry in app.run(kit)["results"]}
        for image in record["images"]:
            answer = answers[image["image"]]
            assert answer["scores"] == pytest.approx(image["outputs"][way]["scores"], abs=tolerance)
            if way == "spot-edge":
                assert answer["input_sha256"] == image["outputs"][way]["input_sha256"]
                image = np.asarray(Image.open(kit / image["input"]))
                assert hashlib.sha256(image.tobytes()).hexdigest() == answer["input_sha256"]


def test_changed_or_missing_images_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _small_kit(tmp_path / "kit", monkeypatch)
    (path,) = (made / "vectors").glob("1-*")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match="changed since the kit was exported"):
        read_kit(made)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read_kit(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "not a kit"), ("{", "not JSON"), ("[]", "not written by"), ('{"schema":2}', "schema 2")],
)
def test_a_folder_that_is_not_a_kit_is_reported(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "vectors.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_kit(tmp_path)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (_small_kit(tmp_path / name, monkeypatch) for name in ("a", "b"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) == 9
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="already exists"):
        export.export_kit(read_model(), tmp_path)
    with pytest.raises(OutputError, match="already exists"):
        export.export_kit(read_model(), tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failed_export_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "write_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _small_kit(tmp_path / "kit", monkeypatch)
    assert list(tmp_path.iterdir()) == []


def _small_kit(out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Export a kit of two small images."""
    images = {"1-a.png": draw_lesion(1, 64, 48), "2-b.png": draw_shape("circle", 2, 60, 80)}
    monkeypatch.setattr(export, "draw_images", lambda size: images)
    return export.export_kit(read_model(), out)
