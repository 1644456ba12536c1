"""What a run takes from other runs, its teachers and starting weights: they must not leak, and teachers not change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import pytest
from click.testing import CliRunner

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import Manifest, read_manifest
from spot_bench.data.splits import split as split_by_group
from spot_edge.cli import spot_edge
from spot_edge.errors import DataError
from spot_train.data.batches import Examples
from spot_train.data.extra import with_training
from spot_train.labels.labelset import plain_label_set
from spot_train.loop.checkpoint import Checkpoint, Position
from spot_train.loop.fit import Interrupted, training_body
from spot_train.loop.session import train_run, unfinished_folder
from spot_train.loop.teachers import check_teachers, check_weights, teacher_digests
from spot_train.recipes.recipe import Recipe, Train, load_recipe, render_recipe
from spot_train.runs.directory import write_recipe

LABELS = plain_label_set(["mel", "nv"])


def listed(path: Path, *rows: str) -> Manifest:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["image,label,group,split", *rows]) + "\n")
    return read_manifest(path, check_files=False)


def teacher(folder: Path, *rows: str, classes: Sequence[str] = ("mel", "nv")) -> Path:
    """Write what a finished run says about its classes and its training images."""
    listed(folder / "split.csv", *rows)
    labels = [{"label": name} for name in classes]
    about = {"schema": 1, "labels": labels, "image": {"size": 32}, "weights": {"name": "imagenet", "sha256": None}}
    (folder / "run.json").write_text(json.dumps(about))
    write_recipe(folder / "recipe.toml", load_recipe("spot"))
    return folder


@pytest.mark.parametrize("split", ["val", "calibrate", "test"])
@pytest.mark.parametrize("row", ["elsewhere/H_DOWNSAMPLED.png,mel,,train", "other.jpg,mel,h-lesion,train"])
def test_a_teacher_that_trained_on_held_out_images_is_refused(tmp_path: Path, split: str, row: str) -> None:
    data = listed(tmp_path / "data.csv", "t.jpg,nv,t-lesion,train", f"h.jpg,mel,h-lesion,{split}")
    train = Train(teachers=(str(teacher(tmp_path / "run", "t.jpg,nv,t-lesion,train", row)),))
    with pytest.raises(
        DataError, match=rf"1 leak: teacher .*run may train on .* h\.jpg \({split}, data\.csv\)"
    ) as caught:
        check_teachers(train, LABELS, data)
    assert "\n" not in str(caught.value)


def test_a_teacher_whose_source_has_held_out_images_is_refused(tmp_path: Path) -> None:
    rows = "t.jpg,nv,t-lesion,train", "h.jpg,mel,h-lesion,test"
    other = teacher(tmp_path / "run", *rows)
    listed(other / "sources" / "more.csv", "H.png,mel,,train")
    with pytest.raises(DataError, match=r"1 leak: teacher .*run may train on H\.png"):
        check_teachers(Train(teachers=(str(other),)), LABELS, listed(tmp_path / "data.csv", *rows))


@pytest.mark.parametrize("split", ["val", "calibrate", "test"])
@pytest.mark.parametrize("row", ["elsewhere/H_DOWNSAMPLED.png,mel,,train", "other.jpg,mel,h-lesion,train"])
def test_weights_of_a_run_that_trained_on_held_out_images_are_refused(tmp_path: Path, split: str, row: str) -> None:
    held_out = [f"{name}.jpg,mel,{name}-lesion,{split}" for name in "hijkl"]
    data = listed(tmp_path / "data.csv", "t.jpg,nv,t-lesion,train", *held_out)
    weights = teacher(tmp_path / "run", "t.jpg,nv,t-lesion,train", row) / "model.keras"
    with pytest.raises(DataError) as caught:
        check_weights(str(weights), data, pytest.fail)
    shared = "group" if "h-lesion" in row else "id"
    assert str(caught.value) == (
        f"1 leak: --weights {weights} may train on {row.partition(',')[0]}, which has the same {shared} as h.jpg "
        f"({split}, data.csv). Choose weights trained with the same split as the data, or rename what has the same "
        "name only by chance"
    )
    listed(tmp_path / "run" / "sources" / "more.csv", *(f"{name}.png,mel,,train" for name in "ijkl"))
    with pytest.raises(DataError, match=r"^5 leaks: .*on i\.png, .*on j\.png, .*; and 2 more\. Choose") as caught:
        check_weights(str(weights), data, pytest.fail)
    assert "\n" not in str(caught.value)


def test_weights_with_the_same_split_or_of_no_run_fit(tmp_path: Path) -> None:
    rows = "t.jpg,nv,t-lesion,train", "v.jpg,mel,v-lesion,val", "h.jpg,mel,h-lesion,test"
    data, notes = listed(tmp_path / "data.csv", *rows), list[str]()
    check_weights(str(teacher(tmp_path / "run", *rows) / "model.keras"), data, notes.append)
    for weights in ("imagenet", "none", str(tmp_path / "run" / "any.weights.h5")):
        check_weights(weights, data, notes.append)
    assert not notes
    moved = str(tmp_path / "model.keras")
    check_weights(moved, data, notes.append)
    assert not notes  # there is no such file
    Path(moved).touch()
    check_weights(moved, data, notes.append)
    assert [note.partition(",")[0] for note in notes] == [f"note: {moved} is not in a run directory"]


@pytest.mark.parametrize("taught", ["weights", "teachers", "mean_of", "unknown"])
def test_a_note_says_that_weights_are_checked_for_one_generation_only(tmp_path: Path, taught: str) -> None:
    rows = "t.jpg,nv,t-lesion,train", "h.jpg,mel,h-lesion,test"
    data, notes, run = listed(tmp_path / "data.csv", *rows), list[str](), teacher(tmp_path / "run", *rows)
    about = json.loads((run / "run.json").read_text())
    distilled = render_recipe(load_recipe("spot", ["train.teachers=['runs/teacher']"]))
    if taught == "weights":
        about["weights"] = {"name": "model.keras", "sha256": "0" * 64}
    elif taught == "teachers":
        (run / "recipe.toml").write_text(distilled)
    elif taught == "mean_of":
        about["mean_of"] = [(run / "recipe.toml").read_text(), distilled]
    else:
        (run / "recipe.toml").unlink()
    (run / "run.json").write_text(json.dumps(about))
    check_weights(str(run / "model.keras"), data, notes.append)
    (note,) = notes
    assert note.startswith(f"note: the run of {run / 'model.keras'} learned from other runs: ")


def test_a_packed_teacher_is_refused_before_images_are_read(tmp_path: Path) -> None:
    run = teacher(tmp_path / "run", "t.jpg,nv,t-lesion,train")
    with pytest.raises(
        DataError, match=r"cannot open its model\.keras\. Restore a packed run with `spot-edge runs rest"
    ):
        teacher_digests(Train(teachers=(str(run),)))


def test_training_refuses_weights_that_leak_before_it_starts(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "data", per_class=6)
    manifest = split_by_group(read_manifest(tmp_path / "data"), seed=0)  # as training splits it
    name = manifest.name(manifest.split("test").items[0])
    weights = teacher(tmp_path / "run", f"{name},circle,x,train") / "model.keras"
    options = ["--data", tmp_path / "data", "--weights", weights, "--out", tmp_path / "out"]
    refused = CliRunner().invoke(spot_edge, ["train", "any-images", *map(str, options)])
    assert isinstance(refused.exception, DataError)
    assert f"1 leak: --weights {weights} may train on {name}, which has the same id" in str(refused.exception)
    assert not list(tmp_path.glob("out*"))


def test_a_teacher_with_the_same_split_fits(tmp_path: Path) -> None:
    rows = "t.jpg,nv,t-lesion,train", "v.jpg,mel,v-lesion,val", "h.jpg,mel,h-lesion,test"
    train = Train(teachers=(str(teacher(tmp_path / "run", *rows)),))
    check_teachers(train, LABELS, listed(tmp_path / "data.csv", *rows))


def test_a_training_resumes_only_with_the_same_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path of a teacher is in the recipe, its network is not."""
    draw_shapes(tmp_path / "data", per_class=6)
    shapes = ("circle", "square", "triangle")
    other = teacher(tmp_path / "teacher", "elsewhere.png,circle,elsewhere,train", classes=shapes)
    changes = ["network.backbone='mobilenet'", "network.width=0.25", "network.size=32", "train.stored_size=32"]
    recipe = load_recipe("any-images", [*changes, f"train.teachers=['{other}']"])
    body = training_body(recipe, 3)
    body.save(other / "model.keras")
    reached = []

    def interrupted(
        recipe: Recipe, examples: Examples, load: object, validate: object, kept: Checkpoint, *_: object
    ) -> None:
        reached.append(examples.targets)
        kept.save(body, keras.optimizers.SGD(), Position(0, 1, 0))
        raise Interrupted

    monkeypatch.setattr("spot_train.loop.session.fit", interrupted)

    def start(resume: bool) -> None:
        train_run(recipe, tmp_path / "data", tmp_path / "run", weights="none", resume=resume, log=lambda line: None)

    for resume in (False, True):
        with pytest.raises(Interrupted):
            start(resume)
    body.set_weights([weight + 1 for weight in body.get_weights()])
    body.save(other / "model.keras")
    with pytest.raises(DataError, match="started with different teachers") as caught:
        start(True)
    assert "\n" not in str(caught.value)
    assert len(reached) == 2
    assert "teachers" in json.loads((unfinished_folder(tmp_path / "run") / "start.json").read_text())


def test_data_licences_and_notices_of_teachers_reach_the_run_once() -> None:
    given = {"data": "HAM", "licence": "CC BY-NC; a: CC0", "notice": "An aid. Dark skin; nails are rare."}
    run = {"name": "student", "training": given}
    others = [
        {"data": "HAM; B 2020 (5 images)", "licence": "CC BY-NC; b: CC BY", "notice": "An aid. No commercial use"},
        {"data": "", "licence": "a: CC0; c: MIT", "notice": ""},
        {"data": "HAM", "licence": "CC BY-NC", "notice": "No commercial use. Dark skin; nails are rare."},
        {},
    ]
    expected = {
        "data": "HAM; B 2020 (5 images)",
        "licence": "CC BY-NC; a: CC0; b: CC BY; c: MIT",
        "notice": "An aid. Dark skin; nails are rare. No commercial use.",
    }
    assert with_training(run, others) == {"name": "student", "training": expected}
    assert run["training"] is given
    assert given["notice"] == "An aid. Dark skin; nails are rare."
    assert with_training(run, [given]) == run
    assert with_training(run, []) == run
