"""What cannot be trained is refused before training starts, in one line, with nothing left behind."""

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
        train_run(load_recipe(recipe), data, out, weights=weights, say=lambda line: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_that_exists_is_never_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "kept").write_text("mine")
    assert "exists already" in refused(data, tmp_path / "run", OutputError)
    assert (tmp_path / "run" / "kept").read_text() == "mine"


def test_data_that_are_not_there(tmp_path: Path) -> None:
    assert "no such file or folder" in refused(tmp_path / "none", tmp_path / "run", DataError)


def test_a_label_outside_the_label_set(data: Path, tmp_path: Path) -> None:
    assert "'circle' is not in the label set 'ham10000'" in refused(data, tmp_path / "run", DataError, "spot")


def test_a_single_class(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "data", per_class=3)
    for shape in ("square", "triangle"):
        for picture in (tmp_path / "data" / shape).iterdir():
            picture.unlink()
        (tmp_path / "data" / shape).rmdir()
    assert "one class only" in refused(tmp_path / "data", tmp_path / "run", DataError)


def test_an_image_that_cannot_be_decoded_is_named(data: Path, tmp_path: Path) -> None:
    for picture in (data / "square").iterdir():
        picture.write_bytes(picture.read_bytes()[:300])
    said = refused(data, tmp_path / "run", DataError)
    assert "square-" in said
    assert "mend it or take it out" in said


def test_a_missing_weights_file_is_refused(data: Path, tmp_path: Path) -> None:
    said = refused(data, tmp_path / "run", DataError, weights=str(tmp_path / "absent.weights.h5"))
    assert "absent.weights.h5: no such file of weights" in said


def test_nothing_half_written_is_left(data: Path, tmp_path: Path) -> None:
    refused(data, tmp_path / "run", DataError, weights=str(tmp_path / "absent.weights.h5"))
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".run*"))
    assert not list(tmp_path.glob("run-cache/*.partial"))
