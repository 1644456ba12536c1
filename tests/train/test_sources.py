"""Extra training sources: class maps, sampling, refusals, provenance, and the loss over sets of classes."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from PIL import Image

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import read_manifest, write_manifest
from spot_bench.data.splits import split
from spot_edge.errors import DataError
from spot_train.commands.train import train as command
from spot_train.data.batches import Batches, Examples, Part, class_counts, class_weights, epoch_length, with_sets
from spot_train.data.extra import class_sets, with_sources
from spot_train.data.pixels import PixelStack
from spot_train.data.sharpness import sharpness_of
from spot_train.labels.labelset import load_label_set
from spot_train.loop.fit import Phase, training_body
from spot_train.loop.losses import SetCrossentropy, set_accuracy
from spot_train.loop.progress import Progress
from spot_train.loop.session import Task, read_task, train_run
from spot_train.recipes.recipe import Network, Recipe, Source, Train, load_recipe, recipe_hash, render_recipe
from spot_train.runs.directory import describe_run

SETS = ((1, 2, 3), (0, 3))


def reference(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The loss in double precision: minus the logarithm of each column's summed probability."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    columns = np.concatenate([shares, *(shares[:, list(s)].sum(axis=1, keepdims=True) for s in SETS)], axis=1)
    return -np.sum(targets * np.log(columns), axis=1)


def random_case(rows: int = 6) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(0, 3, (rows, 4)), np.eye(6)[np.arange(rows) % 6]


def loss(targets: np.ndarray, logits: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    return np.asarray(SetCrossentropy(SETS, 4, smoothing).call(targets, logits))


def test_the_loss_of_a_set_is_minus_the_logarithm_of_its_summed_probability() -> None:
    logits, targets = random_case()
    np.testing.assert_allclose(loss(targets, logits), reference(logits, targets), rtol=1e-5)


def test_the_loss_of_single_classes_is_crossentropy() -> None:
    logits, targets = random_case()
    for smoothing in (0.0, 0.1):
        theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
        ours = loss(targets[:4], logits[:4], smoothing)
        np.testing.assert_allclose(ours, np.asarray(theirs(targets[:4, :4], logits[:4])), rtol=1e-5)


def test_the_loss_is_linear_in_mixed_sets() -> None:
    logits, _ = random_case(1)
    one, other = np.eye(6)[[4]], np.eye(6)[[5]]
    mixed = loss(0.3 * one + 0.7 * other, logits)
    np.testing.assert_allclose(mixed, 0.3 * loss(one, logits) + 0.7 * loss(other, logits), rtol=1e-5)


def test_the_loss_and_its_gradient_are_finite_for_extreme_logits() -> None:
    import tensorflow as tf

    logits = tf.constant([[1000.0, -1000.0, -1000.0, -1000.0], [-500.0, 500.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = SetCrossentropy(SETS, 4).call(np.eye(6)[[4, 5]], logits)
    np.testing.assert_allclose(value, [2000 - np.log(3), 500 - np.log1p(np.exp(-500))], rtol=1e-5)
    gradient = np.asarray(tape.gradient(value, logits))
    np.testing.assert_allclose(gradient[0], [1, -1 / 3, -1 / 3, -1 / 3], atol=1e-6)
    assert np.isfinite(gradient).all()


def test_a_top_class_inside_the_set_counts_as_correct() -> None:
    correct = set_accuracy(SETS, 4)(np.eye(6)[[0, 4, 4, 5]], np.eye(4)[[0, 2, 0, 3]])
    assert np.asarray(correct).tolist() == [1, 1, 0, 1]


def examples(**changes: Any) -> Examples:
    """Ten images of three classes, a source of eight with a set, and one of four that only pretrains."""
    classes = np.array([0] * 6 + [1] * 3 + [2] + [3] * 6 + [0] * 2 + [1] * 4)
    parts = (Part(10, 18, 0.5), Part(18, 22, 2.0, pretrain_only=True))
    pixels = np.zeros((22, 4, 4, 3), np.uint8) + np.arange(22, dtype=np.uint8)[:, None, None, None]
    made = Examples(pixels, classes, np.eye(4, dtype=np.float32)[classes], np.ones(22, np.float32), ((1, 2),), parts)
    return dataclasses.replace(made, **changes)


def rows(batches: Batches) -> list[int]:
    return [int(value) for index in range(len(batches)) for value in batches[index][0][:, 0, 0, 0]]


@pytest.mark.parametrize(("pretraining", "counts"), [(True, (10, 4, 8)), (False, (10, 4, 0))])
def test_an_epoch_shows_each_source_by_its_weight(pretraining: bool, counts: tuple[int, ...]) -> None:
    assert epoch_length(examples(), pretraining) == sum(counts)
    shown = rows(Batches(examples(), Train(batch=1), (1, 1, 0), 0, pretraining))
    assert tuple(np.histogram(shown, [0, 10, 18, 22])[0]) == counts
    assert sorted(r for r in shown if r < 10) == list(range(10))
    assert sorted(r for r in shown if r >= 18) == [18, 18, 19, 19, 20, 20, 21, 21] * pretraining


def test_an_epoch_shorter_than_a_batch_is_one_batch() -> None:
    """The epochs after pretraining have 14 of the 22 images."""
    phase = Phase("all", 1, 2, 1e-3, (32,), pretrain_epochs=1)
    for epoch in range(2):
        batches = Batches(examples(), Train(batch=20), (1, 1, epoch), 0, phase.pretraining(epoch))
        assert len(batches) == phase.steps(epoch, examples(), 20) == 1
        assert len(batches[0][1]) == 14


def test_balance_acts_within_the_data_and_within_each_source() -> None:
    shown = np.array(rows(Batches(examples(), Train(batch=1, balance=1.0), (1, 1, 0))))
    classes = examples().classes[shown]
    assert np.bincount(classes[shown < 10]).tolist() == [4, 3, 3]
    assert np.bincount(classes[(shown >= 10) & (shown < 18)], minlength=4)[[1, 2]].tolist() == [0, 0]


def test_epochs_of_a_source_differ_and_repeat_for_the_same_seed() -> None:
    one, same, other = (rows(Batches(examples(), Train(batch=1), (1, 1, epoch))) for epoch in (0, 0, 1))
    assert one == same
    assert one != other


def test_counts_divide_a_set_among_its_classes() -> None:
    made = examples()
    counts = class_counts(made.classes, 3, made.sets, made.parts)
    # six images of the set at weight one half: three, divided three to one
    np.testing.assert_allclose(counts, [6 + 1, 3 + 2.25, 1 + 0.75])
    weights = with_sets(class_weights(counts, 1.0), counts, made.sets)
    assert weights[:3] @ counts == pytest.approx(counts.sum())
    assert weights[1] < weights[3] < weights[2]


def test_a_stack_of_arrays_reads_like_one_array() -> None:
    parts = [np.arange(n * 12, dtype=np.uint8).reshape(n, 2, 2, 3) for n in (3, 1, 4)]
    stack, whole = PixelStack(parts), np.concatenate(parts)
    assert stack.shape == whole.shape
    for index in (np.array([7, 0, 3, 3]), slice(2, 6), slice(None)):
        np.testing.assert_array_equal(stack[index], whole[index])


RECIPE = """
name = "mixed"
[network]
backbone = "mobilenet"
width = 0.25
size = 32
[train]
batch = 8
stored_size = 40
head_epochs = 0
epochs = 3
mixup = 0.2
label_smoothing = 0.1
logit_adjustment = 0.5
balance = 0.5
ema = 0.8
batch_norm = "adapt"
batch_norm_momentum = 0.8
learning_rate = 1e-2
pretrain_epochs = 1
[augment]
sharpness = 1.0
[[sources]]
name = "partial"
licence = "CC BY 4.0"
citation = "A. Author 2020"
weight = 0.5
native = 24
[sources.classes]
round = "circle"
angular = ["square", "triangle"]
[[sources]]
name = "first"
licence = "CC0"
pretrain_only = true
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shapes that are split, a source that tells only round from angular, and one with plain labels."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "mixed.toml").write_text(RECIPE)
    draw_shapes(folder / "data", per_class=20, seed=1)
    write_manifest(split(read_manifest(folder / "data"), seed=0), folder / "data.csv")
    for seed, name in ((2, "partial"), (3, "first")):
        draw_shapes(folder / name, per_class=8, seed=seed)
        for image in list((folder / name).glob("*/*")):
            image.rename(image.with_name(f"{name}-{image.name}"))
    manifest = read_manifest(folder / "partial")
    coarse = {"circle": "round", "square": "angular", "triangle": "angular"}
    items = [dataclasses.replace(item, label=coarse[item.label]) for item in manifest.items]
    items = [dataclasses.replace(i, split="val" if n % 4 == 0 else "train") for n, i in enumerate(items)]
    write_manifest(dataclasses.replace(manifest, items=tuple(items)), folder / "partial.csv")
    return folder


def task(folder: Path, *changes: str, log: Any = lambda line: None, **paths: Path) -> Task:
    named = {"partial": folder / "partial.csv", "first": folder / "first"} | paths
    return read_task(load_recipe(str(folder / "mixed.toml"), changes), folder / "data.csv", log, named)


def edited(path: Path, out: Path, change: dict[str, str], row: int = 1) -> Path:
    """A copy of the manifest with another value in one row."""
    with open(path, newline="") as file:
        cells = list(csv.DictReader(file))
    cells[row] |= change
    with open(out, "w", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
    return out


def test_only_training_rows_of_a_source_are_read(folder: Path) -> None:
    partial, first = task(folder).extras
    assert len(partial.manifest.items) == 18
    assert len(first.manifest.items) == 24  # a folder without a split
    assert class_sets((partial, first)) == ((1, 2),)
    assert partial.counts(["circle", "square", "triangle"]) == {"circle": 6, "square|triangle": 12}


def test_a_recipe_with_sources_is_equal_after_rendering_and_loading(folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(folder / "mixed.toml"))
    (tmp_path / "again.toml").write_text(render_recipe(recipe))
    assert load_recipe(str(tmp_path / "again.toml")) == recipe
    changed = dataclasses.replace(recipe, sources=(dataclasses.replace(recipe.sources[0], weight=0.25),))
    assert recipe_hash(changed) != recipe_hash(recipe)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("any-images", "c9f7e23d4edd050a27d433d5f1efc880c9a6259b386456a8c4dcd8b29f548a53"),
        ("ham-top2", "ef23f30ff7e4d30395fbd09c1ac1f15d21a4fc2758d0da6c327bf9befc052cb3"),
        ("inception-binary", "91d6a904415c41d66bb06350924abd49254b2947bc4fa1421449a69e3c19de59"),
        ("spot-check", "370eefbca50b150b7091ffff7bc008d16cdb989dabf47d1baca0c1efeaffb267"),
    ],
)
def test_new_keys_do_not_change_the_hash_of_older_recipes(name: str, digest: str) -> None:
    assert recipe_hash(load_recipe(name)) == digest
    assert "sources" not in render_recipe(load_recipe(name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('angular = ["square", "triangle"]|angular = []', "angular has no class"),
        ('angular = ["square", "triangle"]|angular = ["square", "square"]', "names a class twice"),
        ('angular = ["square", "triangle"]|angular = 3', "must be a class or a list of classes"),
        ('name = "first"|name = "partial"', "two sources have the same name"),
        ('licence = "CC0"|', "the key 'licence' is missing"),
        ('licence = "CC0"|licence = ""', "licence must not be empty"),
        ("weight = 0.5|weight = 0.0", "weight must be above 0"),
        ("weight = 0.5|weigth = 0.5", "sources: partial: unknown key 'weigth'; did you mean 'weight'?"),
        ("native = 24|native = 3", "native must be at least 8 pixels"),
        ("native = 24|", "augment.sharpness needs a source with native"),
        ("native = 24|native = 40", "below train.stored_size"),
        ("pretrain_epochs = 1|", "needs train.pretrain_epochs"),
        ("pretrain_epochs = 1|pretrain_epochs = 4", "at most train.epochs"),
        ("pretrain_only = true|", "train.pretrain_epochs needs a source"),
        ('ema = 0.8|loss = "focal"', "train.loss = focal does not support sets of classes"),
    ],
)
def test_an_invalid_source_is_refused_in_one_line(folder: Path, tmp_path: Path, change: str, message: str) -> None:
    old, new = change.split("|")
    assert old in RECIPE
    (tmp_path / "recipe.toml").write_text(RECIPE.replace(old, new))
    with pytest.raises(DataError) as caught:
        load_recipe(str(tmp_path / "recipe.toml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_manifests_that_do_not_fit_the_recipe_are_refused(folder: Path, tmp_path: Path) -> None:
    odd = edited(folder / "partial.csv", folder / "odd.csv", {"label": "flat"})
    for wrong, message in (
        ({"partial": odd}, r"the label 'flat' is no class. Add it to the classes of source 'partial'"),
        ({"partial": tmp_path / "none.csv"}, "no such file or folder"),
        ({"other": odd}, "the recipe does not name this source; its sources are first, partial"),
    ):
        with pytest.raises(DataError, match=message):
            task(folder, **wrong)
    with pytest.raises(DataError, match=r"add --source partial=MANIFEST"):
        train_run(load_recipe(str(folder / "mixed.toml")), folder / "data.csv", tmp_path / "run", log=lambda line: None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("square", "cube", "angular names the class 'cube', which is none of circle, square, triangle"),
        ('["square"', '["circle", "square"', "angular allows every class, so its images teach nothing"),
    ],
)
def test_a_class_map_must_fit_the_classes(folder: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "mixed.toml").write_text(RECIPE.replace(old, new))
    named = {"partial": folder / "partial.csv", "first": folder / "first"}
    with pytest.raises(DataError, match=message):
        read_task(load_recipe(str(tmp_path / "mixed.toml")), folder / "data.csv", lambda line: None, named)


def test_a_class_that_only_pretraining_shows_is_refused(folder: Path) -> None:
    """It would be forgotten, and has no weight."""
    manifest = read_manifest(folder / "data.csv")
    items = tuple(item for item in manifest.items if (item.label, item.split) != ("triangle", "train"))
    write_manifest(dataclasses.replace(manifest, items=items), folder / "few.csv")
    named = {"partial": folder / "partial.csv", "first": folder / "first"}
    with pytest.raises(DataError, match=r"no training image is labelled 'triangle' \(sources with pretrain_only"):
        read_task(load_recipe(str(folder / "mixed.toml")), folder / "few.csv", lambda line: None, named)


def test_a_source_that_trains_on_held_out_images_is_refused(folder: Path) -> None:
    manifest = read_manifest(folder / "data.csv")
    held_out = manifest.split("test").items[0]
    copied = folder / "partial" / "circle" / f"{held_out.image.stem.upper()}_DOWNSAMPLED.jpg"
    copied.write_bytes(held_out.image.read_bytes())
    name = str(copied.relative_to(folder))
    same_id = edited(folder / "partial.csv", folder / "same-id.csv", {"image": name, "group": "x"})
    with pytest.raises(DataError, match=r"1 leak: source partial may train on .*the same id as .* \(test, data\.csv\)"):
        task(folder, partial=same_id)
    of_data = edited(folder / "data.csv", folder / "grouped.csv", {"group": "lesion", "split": "val"})
    of_source = edited(folder / "partial.csv", folder / "same-group.csv", {"group": "lesion"})
    named = {"partial": of_source, "first": folder / "first"}
    with pytest.raises(DataError, match=r"has the same group as .* \(val, grouped\.csv\)"):
        read_task(load_recipe(str(folder / "mixed.toml")), of_data, lambda line: None, named)


def test_a_repeated_training_image_is_noted(folder: Path) -> None:
    manifest = read_manifest(folder / "data.csv")
    item = manifest.split("train").items[0]
    again = edited(folder / "partial.csv", folder / "again.csv", {"image": manifest.name(item), "group": "x"})
    notes: list[str] = []
    task(folder, partial=again, log=notes.append)
    assert "note: source partial repeats 1 training image of the data" in notes


def test_provenance_is_added_to_the_description_of_a_run(folder: Path, repository: Path) -> None:
    given, recipe = task(folder), load_recipe(str(folder / "mixed.toml"))
    plain = describe_run(recipe, given.labels, folder / "data.csv", folder, "none")
    assert with_sources(plain, ()) == plain
    plain["training"] = {"data": "shapes", "licence": "", "notice": "n"}
    run = with_sources(plain, given.extras)
    assert run["training"] == {
        "data": "shapes; A. Author 2020 (18 images); first (24 images)",
        "licence": "partial: CC BY 4.0; first: CC0",
        "notice": "n",
    }
    partial, first = run["sources"]
    assert partial["classes"] == {"circle": 6, "square|triangle": 12}
    assert partial["sha256"] == hashlib.sha256((folder / "partial.csv").read_bytes()).hexdigest()
    assert first["pretrain_only"]
    schema = json.loads((repository / "docs" / "reference" / "schemas" / "run.schema.json").read_text())
    Draft202012Validator(schema).validate(run)
    first["path"] = "elsewhere"
    assert not Draft202012Validator(schema).is_valid(run)


def test_the_path_of_a_manifest_is_not_part_of_what_is_resumed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "first", tmp_path / "moved")
    assert task(folder, first=tmp_path / "moved").digest() == task(folder).digest()
    (tmp_path / "moved" / "circle").rename(tmp_path / "moved" / "triangles")
    shutil.move(tmp_path / "moved" / "triangles", tmp_path / "moved" / "square" / "more")
    assert task(folder, first=tmp_path / "moved").digest() != task(folder).digest()


def run_command(folder: Path, out: Path, *options: str) -> Result:
    sources = ["--source", f"partial={folder / 'partial.csv'}", "--source", f"first={folder / 'first'}"]
    data = ["--data", str(folder / "data.csv"), "--weights", "none"]
    return CliRunner().invoke(command, [str(folder / "mixed.toml"), *data, *sources, "--out", str(out), *options])


@pytest.mark.parametrize(
    ("source", "message"), [("partial", "is not NAME=MANIFEST"), ("first=x", "first is given twice")]
)
def test_source_options_are_names_with_manifests(folder: Path, tmp_path: Path, source: str, message: str) -> None:
    done = run_command(folder, tmp_path / "run", "--source", source)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.long
def test_a_training_with_sources_resumes_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    whole = run_command(folder, tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    report = Progress.step

    def stop_after_the_first_epoch(
        self: Progress, phase: str, epoch: int, epochs: int, share: float, *figures: Any
    ) -> None:
        report(self, phase, epoch, epochs, share, *figures)
        if share == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "step", stop_after_the_first_epoch)
        assert run_command(folder, tmp_path / "resumed").exit_code == 130
    done = run_command(folder, tmp_path / "resumed", "--resume")
    assert done.exit_code == 0, done.output
    assert "2/3" in done.output
    assert "1/3" not in done.output
    runs = (tmp_path / "whole", tmp_path / "resumed")
    one, other = (keras.saving.load_model(run / "model.keras", compile=False).get_weights() for run in runs)
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fresh = training_body(load_recipe(str(folder / "mixed.toml")), 3).get_weights()
    assert max(np.abs(ours - before).max() for ours, before in zip(one, fresh, strict=True)) > 0.01  # it learned
    written = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert [source["name"] for source in written["sources"]] == ["partial", "first"]
    with open(tmp_path / "whole" / "history.csv", newline="") as file:
        assert all(0 <= float(row["accuracy"]) <= 1 for row in csv.DictReader(file))


def test_a_body_has_one_output_per_class_but_none_per_set() -> None:
    recipe = Recipe("tiny", network=Network(backbone="mobilenet", width=0.25, size=32))
    assert training_body(recipe, examples().number_of_classes).output["evidence"].shape[-1] == 3


def test_a_source_has_no_path() -> None:
    assert not {"path", "manifest"} & {field.name for field in dataclasses.fields(Source)}


def test_ak_and_scc_may_be_apart_or_together(tmp_path: Path) -> None:
    """Eight classes, of which one source tells AK from SCC, and another one has both as akiec."""
    eight = [label.label for label in load_label_set("isic2019").labels]

    def manifest(name: str, labels: list[str], *splits: str) -> Path:
        rows = [f"{name}-{label}-{split}.jpg,{label},{split}" for label in labels for split in splits]
        for row in rows:
            (tmp_path / row.partition(",")[0]).touch()
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,label,split", *rows]))
        return tmp_path / f"{name}.csv"

    (tmp_path / "recipe.toml").write_text(
        'name = "eight"\nlabels = "isic2019"\n[[sources]]\nname = "apart"\nlicence = "x"\n'
        '[[sources]]\nname = "together"\nlicence = "x"\n[sources.classes]\nakiec = ["akiec", "scc"]\n'
    )
    data = manifest("data", [name for name in eight if name != "scc"], "train", "val")
    named = {
        "apart": manifest("apart", ["AK", "SCC", "MEL"], "train"),
        "together": manifest("together", ["akiec", "mel"], "train", "test"),
    }
    given = read_task(load_recipe(str(tmp_path / "recipe.toml")), data, lambda line: None, named)
    apart, together = given.extras
    assert apart.counts(eight) == {"akiec": 1, "mel": 1, "scc": 1}  # scc is learned from this source alone
    assert together.counts(eight) == {"akiec|scc": 1, "mel": 1}


def test_sharpness_reduces_only_sharper_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), np.uint8)
    step = sharpness_of(0.5, (0, 24, 30), (2, 2, 2))
    assert step is not None
    rows = np.array([0, 2, 3, 4, 5])
    given = step.apply(pixels[rows], rows, np.array([0.4, 0.4, 0.4, 0.6, 0.4]))
    same = [bool((one == other).all()) for one, other in zip(given, pixels[rows], strict=True)]
    assert same == [False, True, True, True, False]  # the source of 24 pixels, and a draw above the share
    small = Image.fromarray(pixels[0]).resize((24, 24), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(given[0], small.resize((40, 40), Image.Resampling.BILINEAR))
    assert sharpness_of(0.0, (0, 24), (1, 1)) is sharpness_of(0.5, (0, 0), (1, 1)) is None


def test_batches_reduce_the_share_of_images_differently_in_each_epoch() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 16, 16, 3), np.uint8)
    classes = np.zeros(400, np.int64)
    targets, weights = np.ones((400, 1), np.float32), np.ones(400, np.float32)
    made = Examples(pixels, classes, targets, weights, sharpness=sharpness_of(0.25, (0, 8), (200, 200)))

    def changed(epoch: int) -> set[int]:
        batches = Batches(made, Train(batch=40), (1, 1, epoch))
        seen = {image.tobytes() for index in range(len(batches)) for image in batches[index][0]}
        return {number for number, image in enumerate(pixels) if image.tobytes() not in seen}

    first, same, other = changed(0), changed(0), changed(1)
    assert first == same != other
    assert 25 <= len(first) <= 75
    assert max(first) < 200
