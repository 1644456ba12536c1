"""What teachers predict about augmented views: computed as the student sees them, cached, resumed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import Manifest, read_manifest
from spot_bench.stats.calibration import softmax
from spot_edge.model.spec import ImageSpec
from spot_train.commands.train import train
from spot_train.data.augment import RandomAugmentation
from spot_train.data.pixels import pixel_array
from spot_train.data.views import Views, view_draws
from spot_train.loop.fit import Interrupted
from spot_train.loop.progress import StopRequest
from spot_train.loop.teachers import teacher_views
from spot_train.network.network import build_body
from spot_train.recipes.recipe import Augment, Network, Recipe, Train

pytestmark = pytest.mark.long

SIZES = (32, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two untrained teachers of different input sizes, and images."""
    folder = tmp_path_factory.mktemp("teachers")
    draw_shapes(folder / "images", per_class=4)
    for size in SIZES:
        keras.utils.set_random_seed(size)
        (folder / f"teacher{size}").mkdir()
        body = build_body(Network(width=0.35, size=size), 3)
        kernel, _ = body.get_layer("evidence").get_weights()
        embedding = np.asarray(body(pixel_array(manifest(folder), ImageSpec(size)), training=False)["embedding"])
        kernel *= 2 / (embedding @ kernel[0, 0]).std(axis=0)  # so that predictions differ
        body.get_layer("evidence").set_weights([kernel, -(embedding @ kernel[0, 0]).mean(axis=0)])
        body.save(folder / f"teacher{size}" / "model.keras")
    return folder


def recipe(folder: Path, **changes: object) -> Recipe:
    settings = Train(stored_size=48, teachers=tuple(str(folder / f"teacher{size}") for size in SIZES), teacher_views=2)
    return Recipe("student", augment=Augment(hairs=0.5, jpeg=0.5), train=dataclasses.replace(settings, **changes))  # type: ignore[arg-type]


def manifest(folder: Path) -> Manifest:
    return read_manifest(folder / "images")


def compute(
    folder: Path, cache: Path, log: list[str], stop: StopRequest | None = None, stop_after: int = 0, **changes: object
) -> Views:
    request = stop or StopRequest()

    def note(line: str) -> None:
        log.append(line)
        request.raised = len(log) == stop_after

    return teacher_views(recipe(folder, **changes), [manifest(folder)], None, None, cache, note, request)


def test_teachers_predict_the_very_images_that_the_student_sees(folder: Path, tmp_path: Path) -> None:
    views = compute(folder, tmp_path, [])
    number = len(manifest(folder).items)
    assert views.predictions.shape == (2, number, 3)
    assert views.predictions.dtype == np.float16
    for view in range(2):
        expected = np.zeros((number, 3))
        for size in SIZES:
            side = max(48, size)
            draws = view_draws(views.seed, view, number)
            images = RandomAugmentation(recipe(folder).augment, size)(
                pixel_array(manifest(folder), ImageSpec(side)), draws
            )
            body = keras.saving.load_model(folder / f"teacher{size}" / "model.keras", compile=False)
            evidence = np.asarray(body(np.asarray(images), training=False)["evidence"])
            expected += softmax(evidence.mean(axis=(1, 2)) / 2) / 2  # temperature 2, two teachers
        np.testing.assert_allclose(views.predictions[view], expected, atol=0.01)
    assert np.abs(views.predictions[0].astype(float) - views.predictions[1]).max() > 0.02


def test_images_of_a_set_get_predictions_inside_it(folder: Path, tmp_path: Path) -> None:
    given, number = [manifest(folder)], len(manifest(folder).items)
    permitted = np.ones((number, 3), bool)
    permitted[2:5, 0] = False
    free, bound = (
        teacher_views(recipe(folder), given, None, rows, tmp_path, print, StopRequest()).predictions.astype(float)
        for rows in (None, permitted)
    )
    np.testing.assert_array_equal(bound[:, 5:], free[:, 5:])
    assert not bound[:, 2:5, 0].any()
    np.testing.assert_allclose(bound.sum(axis=2), 1, atol=2e-3)
    ratio = free[:, 2:5, 1] / free[:, 2:5, 1:].sum(axis=2)
    np.testing.assert_allclose(bound[:, 2:5, 1], ratio, atol=2e-3)


def test_an_interrupted_pass_continues_with_the_next_view(folder: Path, tmp_path: Path) -> None:
    whole = compute(folder, tmp_path / "whole", [])
    log: list[str] = []
    with pytest.raises(Interrupted):
        compute(folder, tmp_path / "cut", log, stop_after=3)
    assert [line.split(": ")[1][:8] for line in log] == ["view 1/2", "view 2/2", "view 1/2"]
    resumed: list[str] = []
    np.testing.assert_array_equal(compute(folder, tmp_path / "cut", resumed).predictions, whole.predictions)
    assert len(resumed) == 1
    assert f"teacher {folder / 'teacher64'}: view 2/2 (" in resumed[0]


def test_only_what_changes_the_images_or_teachers_needs_a_new_pass(folder: Path, tmp_path: Path) -> None:
    log: list[str] = []
    first = compute(folder, tmp_path, log)
    assert len(log) == 4
    softer = compute(folder, tmp_path, log, teacher_temperature=4.0, teacher_share=0.9, epochs=3)
    assert len(log) == 4
    assert softer.predictions.max() < first.predictions.max()
    compute(folder, tmp_path, log, teacher_views=3)
    assert len(log) == 6
    compute(folder, tmp_path, log, seed=2)
    assert len(log) == 10
    for damaged in tmp_path.glob("teacher-*-view0.npz"):
        damaged.write_bytes(damaged.read_bytes()[:100])
    np.testing.assert_array_equal(compute(folder, tmp_path, log).predictions, first.predictions)
    assert len(log) == 12  # one view of each of the two teachers


def test_a_recipe_with_views_trains(shapes_run: Path, shapes: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(shapes_run, teacher)
    about = json.loads((teacher / "run.json").read_text())
    about["training"] |= {"data": "drawn shapes", "licence": "CC0"}
    (teacher / "run.json").write_text(json.dumps(about))
    changes = (
        "network.width=0.35", "network.size=32", "train.stored_size=40", "train.batch=16", "train.head_epochs=0",
        "train.epochs=2", "train.mixup=0.2", "train.cutmix=0.5", "train.balance=0.5", "train.teacher_views=2",
        f"train.teachers=['{teacher}']",
    )  # fmt: skip
    arguments = ["any-images", "--data", str(shapes), "--out", str(tmp_path / "run"), "--weights", "none"]
    arguments += ["--cache", str(tmp_path / "cache"), *(part for change in changes for part in ("--set", change))]
    done = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"teacher {teacher}: view 2/2" in done.output
    assert len(list((tmp_path / "cache").glob("teacher-*-view?.npz"))) == 2
    written = json.loads((tmp_path / "run" / "run.json").read_text())["training"]
    assert (written["data"], written["licence"]) == ("drawn shapes", "CC0")
    assert "teacher_views = 2" in (tmp_path / "run" / "recipe.toml").read_text()
