"""Run every included recipe to its run directory, with few drawn images and few epochs.

The recipes that use every part of training run in `make test`: sampling, mixup, the moving average and all augmentation
(spot-small), the plateau schedule with class weights (ham-top2), and a frozen backbone with RMSprop (inception-binary).
The others add no line of code; they run nightly.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from spot_bench.data.drawn import encode_jpeg
from spot_edge.errors import DataError
from spot_train.commands.train import train
from spot_train.recipes.recipe import known_recipes, load_recipe

pytestmark = pytest.mark.long

SEVEN = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
EIGHT = (*SEVEN, "scc")
SPLIT = {"train": 8, "val": 4, "calibrate": 2, "test": 2}
SMALL = ("network.size=32", "train.stored_size=32", "train.batch=8")
NARROW = ("network.width=0.35", *SMALL)
CHANGES = {
    "spot": (*NARROW, "train.epochs=1", "train.sizes=[32]"),
    "spot-small": (*SMALL, "train.head_epochs=0", "train.epochs=1", "train.sizes=[32]"),
    "spot-check": (*NARROW, "train.epochs=1"),
    "inception-binary": ("network.size=75", "train.stored_size=75", "train.batch=8", "train.head_epochs=1"),
    "ham-top2": (*NARROW, "train.head_epochs=0", "train.epochs=3", "train.patience=1"),
    "any-images": (*NARROW, "train.head_epochs=0", "train.epochs=1"),
    "spot-sources": (*NARROW, "train.head_epochs=0", "train.epochs=1", "train.sizes=[32]"),
    "teacher": (*SMALL, "train.head_epochs=0", "train.epochs=1", "train.sizes=[32]"),
}
FAST = ("ham-top2", "spot-small")
FILES = {
    "recipe.toml", "run.json", "split.csv", "model.keras", "history.csv", "history.svg", "metrics.json",
    "validation.md", "confusion.svg",
}  # fmt: skip


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `seven.csv` and `eight.csv`: plain images whose colour shows the class.

    `isic2017.csv` lists images of which only melanoma or not is known.
    """
    folder = tmp_path_factory.mktemp("lesions")
    colours = np.random.default_rng(5).permutation(np.linspace(20, 235, 8))
    rows = []
    for number, label in enumerate(EIGHT):
        names = [name for name, count in SPLIT.items() for _ in range(count)]
        for index, split in enumerate(names):
            noise = np.random.default_rng([number, index]).normal(0, 12, (48, 64, 3))
            ground = np.array([colours[number], colours[-number - 1], 128.0])
            name = f"{label}-{index}.jpg"
            (folder / name).write_bytes(encode_jpeg(Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))))
            rows.append([name, label, f"{label}-{index}", split])
    for name, labels in (("seven", SEVEN), ("eight", EIGHT)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["image", "label", "group", "split"], *(r for r in rows if r[1] in labels)])
    with (folder / "isic2017.csv").open("w", newline="") as file:
        csv.writer(file).writerow(["image", "label", "split"])
        for label, index in ((label, index) for label in SEVEN for index in range(4)):
            name = f"isic-{label}-{index}.jpg"
            (folder / name).write_bytes((folder / f"{label}-{index}.jpg").read_bytes())
            csv.writer(file).writerow([name, "melanoma" if label == "mel" else "other", "train"])
    return folder


def run_recipe(recipe: str, data: Path, out: Path, *changes: str) -> Path:
    sets = [part for change in (*CHANGES[recipe], *changes) for part in ("--set", change)]
    names = [source.name for source in load_recipe(recipe).sources]
    sources = [part for name in names for part in ("--source", f"{name}={data.parent / name}.csv")]
    arguments = [recipe, "--data", str(data), "--out", str(out), "--weights", "none", *sets, *sources]
    done = CliRunner().invoke(train, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


def metrics_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def test_every_recipe_is_tested() -> None:
    assert set(CHANGES) == set(known_recipes())


@pytest.mark.parametrize(
    "recipe", [pytest.param(name, marks=() if name in FAST else pytest.mark.nightly) for name in sorted(CHANGES)]
)
def test_a_recipe_runs(recipe: str, lesions: Path, tmp_path: Path) -> None:
    data = lesions / ("eight.csv" if recipe in ("spot-check", "any-images") else "seven.csv")
    run = run_recipe(recipe, data, tmp_path / "run")
    metrics, labels = metrics_of(run), json.loads((run / "run.json").read_text())["labels"]
    expected = {"spot-check": 8, "any-images": 8, "inception-binary": 2}.get(recipe, 7)
    assert len(labels) == len(metrics["classes"]) == expected
    sources = {"sources"} if load_recipe(recipe).sources else set()
    assert {path.name for path in run.iterdir()} - {"threshold.svg"} == FILES | sources
    assert (run / "threshold.svg").exists() == (recipe != "any-images")
    kept = load_recipe(str(run / "recipe.toml"))  # it can be replayed
    assert kept == load_recipe(recipe, CHANGES[recipe])
    if expected > 3:
        tops = [metrics[name]["value"] for name in ("accuracy", "top2_accuracy", "top3_accuracy")]
        assert tops == sorted(tops)


@pytest.mark.nightly
def test_spot_check_trains_on_the_seven_classes_of_ham10000(lesions: Path, tmp_path: Path) -> None:
    run = run_recipe("spot-check", lesions / "seven.csv", tmp_path / "run", "labels=ham10000")
    assert list(metrics_of(run)["classes"]) == list(SEVEN)


def test_inception_binary_trains_melanoma_against_the_rest(lesions: Path, tmp_path: Path) -> None:
    changes = ("labels=ham10000-melanoma", "network.backbone=mobilenet_v2", *NARROW)
    metrics = metrics_of(run_recipe("inception-binary", lesions / "seven.csv", tmp_path / "run", *changes))
    decision = metrics["decision"]
    assert decision["positive"] == ["melanoma"]
    assert (decision["positives"], decision["negatives"]) == (4, 24)
    assert list(decision["thresholds"]) == ["untuned", "youden", "sensitivity-90", "sensitivity-95"]
    assert decision["thresholds"]["sensitivity-95"]["type_2_errors"]["count"] == 0
    assert metrics["melanoma_auc"] == decision["auc"]
    assert "malignant_auc" not in metrics  # the rest includes carcinomas
    assert metrics["commonest_class"] == {"label": "other", "accuracy": 24 / 28}


# The published protocols that the recipes reproduce: these values must not change.


def test_spot_check_is_the_published_protocol() -> None:
    recipe = load_recipe("spot-check")
    assert (recipe.network.backbone, recipe.network.width, recipe.network.size) == ("mobilenet_v2", 1.0, 256)
    train_, augment = recipe.train, recipe.augment
    assert (train_.optimizer, train_.learning_rate, train_.schedule) == ("adam", 1e-5, "constant")
    assert (train_.batch, train_.head_epochs, train_.epochs, train_.loss) == (32, 0, 128, "crossentropy")
    assert (augment.flip, augment.rotate, augment.zoom) == (True, 30.0, (1.0, 1.0))
    others = ("stretch", "shift", "brightness", "contrast", "saturation", "illuminant")
    assert not any(getattr(augment, name) for name in (*others, "hairs", "corners", "jpeg", "blur"))


def test_ham_top2_is_the_published_protocol() -> None:
    recipe = load_recipe("ham-top2")
    assert (recipe.network.backbone, recipe.network.size) == ("mobilenet_v2", 224)
    assert (recipe.train.frozen_layers, recipe.train.balance, recipe.train.schedule) == (100, 1.0, "plateau")
    assert recipe.train.class_weights == {"mel": 3.0}


def test_inception_binary_trains_only_the_head() -> None:
    recipe = load_recipe("inception-binary")
    assert (recipe.network.backbone, recipe.network.size) == ("inception_v3", 299)
    assert (recipe.train.epochs, recipe.train.optimizer, recipe.labels) == (0, "rmsprop", "ham10000-malignant")
    assert recipe.train.head_epochs > 0


def test_spot_small_is_spot_at_another_width() -> None:
    small, spot = load_recipe("spot-small"), load_recipe("spot")
    assert small.network.width == 0.35
    assert small.augment == spot.augment
    same = ("loss", "balance", "mixup", "batch_norm", "optimizer", "schedule")
    assert [getattr(small.train, key) for key in same] == [getattr(spot.train, key) for key in same]


def test_eight_classes_need_data_with_eight(lesions: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no training image is labelled 'scc'"):
        run_recipe("spot-check", lesions / "seven.csv", tmp_path / "run")


def test_any_images_learns_to_tell_shapes(shapes_run: Path) -> None:
    """The labels are those of the data, as with any-images. The margin is measured in tests/system/test_chain.py."""
    metrics = metrics_of(shapes_run)
    assert list(metrics["classes"]) == ["circle", "square", "triangle"]
    assert metrics["balanced_accuracy"]["low"] > 1 / 3
    assert metrics["top2_accuracy"]["value"] > 0.75
    assert metrics["decision"] is None
