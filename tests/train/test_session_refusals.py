"""Invalid input is refused before training starts, in one line, and leaves no files."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot_bench.data.drawn import draw_shapes
from spot_edge.errors import DataError, OutputError, SpotError
from spot_train.loop.session import train_run
from spot_train.recipes.recipe import load_recipe


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw_shapes(tmp_path / "data", per_class=6)
    return tmp_path / "data"


def refused(data: Path, out: Path, kind: type[SpotError], recipe: str = "any-images", weights: str = "none") -> str:
    with pytest.raises(kind) as caught:
        train_run(load_recipe(recipe), data, out, weights=weights, log=lambda line: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_that_exists_is_never_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").write_text("mine")
    assert "already exists" in refused(data, tmp_path / "run", OutputError)
    assert (tmp_path / "run" / "kept").read_text() == "mine"


def test_missing_data_are_refused(tmp_path: Path) -> None:
    assert "no such file or folder" in refused(tmp_path / "none", tmp_path / "run", DataError)


def test_a_label_outside_the_label_set_is_refused(data: Path, tmp_path: Path) -> None:
    assert "'circle' is not in the label set 'ham10000'" in refused(data, tmp_path / "run", DataError, "spot")


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "data", per_class=3)
    for shape in ("square", "triangle"):
        for image in (tmp_path / "data" / shape).iterdir():
            image.unlink()
        (tmp_path / "data" / shape).rmdir()
    assert "only one class" in refused(tmp_path / "data", tmp_path / "run", DataError)


def test_an_image_that_cannot_be_decoded_is_named(data: Path, tmp_path: Path) -> None:
    for image in (data / "square").iterdir():
        image.write_bytes(image.read_bytes()[:300])
    message = refused(data, tmp_path / "run", DataError)
    assert "square-" in message
    assert "repair it or remove it" in message


def test_a_missing_weights_file_is_refused(data: Path, tmp_path: Path) -> None:
    message = refused(data, tmp_path / "run", DataError, weights=str(tmp_path / "absent.weights.h5"))
    assert "absent.weights.h5: no such weights file" in message


def test_no_partial_files_are_left(data: Path, tmp_path: Path) -> None:
    refused(data, tmp_path / "run", DataError, weights=str(tmp_path / "absent.weights.h5"))
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".run*"))
    assert not list(tmp_path.glob("run-cache/*.partial"))
