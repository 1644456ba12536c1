"""`spot-edge runs average`: the mean of the weights is a complete run; runs that do not fit are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from spot_edge.errors import DataError
from spot_train.labels.labelset import load_label_set
from spot_train.recipes.recipe import load_recipe
from spot_train.runs.average import average_runs
from spot_train.runs.directory import describe_run, write_json, write_recipe


@pytest.fixture
def first_run(shapes_run: Path, tmp_path: Path) -> Path:
    """The run of the shapes, as if its batch norm had been frozen."""
    first = tmp_path / "first"
    shutil.copytree(shapes_run, first)
    recipe = first / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('batch_norm = "adapt"', 'batch_norm = "frozen"'))
    return first


@pytest.fixture
def other_run(first_run: Path, tmp_path: Path) -> Path:
    """The same run with slightly larger weights and another recipe."""
    other = tmp_path / "other"
    shutil.copytree(first_run, other)
    body = keras.saving.load_model(other / "model.keras", compile=False)
    body.set_weights([weight + 0.001 for weight in body.get_weights()])
    body.save(other / "model.keras")
    recipe = other / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("seed = 1", "seed = 2"))
    return other


def change(run: Path, **about: object) -> None:
    description = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(description | about))


def test_the_mean_of_two_runs_is_a_run(first_run: Path, other_run: Path, shapes: Path, tmp_path: Path) -> None:
    metrics = average_runs([first_run, other_run], shapes, tmp_path / "mean", print)
    mean, first = (
        keras.saving.load_model(run / "model.keras", compile=False).get_weights()
        for run in (tmp_path / "mean", first_run)
    )
    for ours, theirs in zip(mean, first, strict=True):
        np.testing.assert_allclose(ours, theirs + 0.0005, atol=1e-5)
    about = json.loads((tmp_path / "mean" / "run.json").read_text())
    assert ["seed = 1" in text for text in about["mean_of"]] == [True, False]
    assert json.loads((tmp_path / "mean" / "metrics.json").read_text()) == metrics
    assert (tmp_path / "mean" / "validation.md").is_file()


@pytest.mark.parametrize(
    "about",
    [
        {"labels": []},
        {"split_sha256": "0"},
        {"weights": {"name": "other", "sha256": "1"}},
        {"sources": [{"name": "other"}]},
    ],
)
def test_runs_that_differ_are_refused(
    first_run: Path, other_run: Path, shapes: Path, tmp_path: Path, about: dict[str, object]
) -> None:
    change(other_run, **about)
    with pytest.raises(DataError, match=f"they differ in {next(iter(about))}"):
        average_runs([first_run, other_run], shapes, tmp_path / "mean", print)
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize(
    ("factors", "reason"),
    [
        ((0.0, 0.2), "they differ in train.shift_to_balance"),
        ((0.2, 0.2), "first: cannot open its model.keras. Restore a packed run with `spot-edge runs restore`"),
    ],
)
def test_runs_that_cannot_be_averaged_are_refused_before_images_are_read(
    tmp_path: Path, factors: tuple[float, float], reason: str
) -> None:
    runs = [tmp_path / "first", tmp_path / "second"]
    for run, factor in zip(runs, factors, strict=True):
        run.mkdir()
        recipe = load_recipe("spot", [f"train.shift_to_balance={factor}"])
        (run / "split.csv").write_text("image,label\n")
        about = describe_run(recipe, load_label_set("ham10000"), run / "split.csv", None, "none")
        write_json(run / "run.json", about)
        write_recipe(run / "recipe.toml", recipe)
    with pytest.raises(DataError) as caught:
        average_runs(runs, tmp_path / "no-data", tmp_path / "mean", print)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_run_and_adapting_batch_norm_are_refused(
    shapes_run: Path, other_run: Path, shapes: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="two or more"):
        average_runs([other_run], shapes, tmp_path / "mean", print)
    with pytest.raises(DataError, match="adapting batch norm"):
        average_runs([other_run, shapes_run], shapes, tmp_path / "mean", print)
