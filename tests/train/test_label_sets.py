"""The included label sets are complete, and merged labels hold from the data to the converted model's drift."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import encode_jpeg
from spot_bench.data.manifest import Item, Manifest
from spot_convert.commands.convert import convert
from spot_edge.errors import DataError
from spot_edge.model.file import read_model
from spot_train.commands.train import train
from spot_train.labels.labelset import known_label_sets, load_label_set

pytestmark = pytest.mark.long

SEVEN = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
RECIPE = """
name = "merged"
labels = "ham10000-malignant"
[network]
size = 32
[train]
batch = 16
stored_size = 32
head_epochs = 0
epochs = 3
learning_rate = 1e-3
frozen_layers = 54
batch_norm = "adapt"
batch_norm_momentum = 0.8
"""


def labelled(*labels: str) -> Manifest:
    items = tuple(Item(Path(f"{n}.jpg"), label, str(n)) for n, label in enumerate(labels))
    return Manifest(items, Path("data.csv"))


def test_every_label_set_has_source_licence_and_notice() -> None:
    assert known_label_sets() == ["ham10000", "ham10000-malignant", "ham10000-melanoma", "isic2019"]
    for name in known_label_sets():
        labels = load_label_set(name)
        assert "HAM10000" in labels.data
        assert "CC BY-NC 4.0" in labels.licence
        assert labels.notice.startswith("An aid for trained people, not a diagnosis.")
        assert all(label.name and label.description for label in labels.labels)
        assert any(label.malignant for label in labels.labels)


def test_isic2019_has_the_seven_classes_of_ham10000_and_scc() -> None:
    labels = load_label_set("isic2019")
    assert [label.label for label in labels.labels] == sorted([*SEVEN, "scc"])
    seven = {label.label: label for label in load_label_set("ham10000").labels}
    assert all(seven[label.label] == label for label in labels.labels if label.label in seven)
    assert {label.label for label in labels.labels if label.malignant} == {"akiec", "bcc", "mel", "scc"}


def test_isic2019_accepts_the_names_in_its_own_table() -> None:
    own = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "akiec", "ak", "mel")
    taken = [item.label for item in load_label_set("isic2019").apply(labelled(*own)).items]
    assert taken == ["mel", "nv", "bcc", "akiec", "bkl", "df", "vasc", "scc", "akiec", "akiec", "mel"]


@pytest.mark.parametrize(
    ("name", "positive", "members"),
    [
        ("ham10000-malignant", "malignant", {"akiec", "bcc", "mel"}),
        ("ham10000-melanoma", "melanoma", {"mel"}),
    ],
)
def test_two_classes_merge_all_seven(name: str, positive: str, members: set[str]) -> None:
    labels = load_label_set(name)
    taken = labels.apply(labelled(*SEVEN))
    assert {SEVEN[n] for n, item in enumerate(taken.items) if item.label == positive} == members
    assert set(taken.labels) == {label.label for label in labels.labels}
    assert labels.apply(taken) == taken  # data already labelled like that
    seven = {label.label: label.malignant for label in load_label_set("ham10000").labels}
    for label in labels.labels:
        if label.malignant is not None:
            assert {seven[member] for member in labels.merges[label.label]} == {label.malignant}


def test_the_class_other_is_not_marked_benign() -> None:
    melanoma, other = load_label_set("ham10000-melanoma").labels
    assert melanoma.malignant is True
    assert other.malignant is None


@pytest.mark.parametrize(
    "members", ['from = ["x", "y"]\n[[label]]\nlabel = "b"\nname = "b"\nfrom = ["y"]', "from = [1]"]
)
def test_invalid_merges_are_refused(members: str, tmp_path: Path) -> None:
    path = tmp_path / "set.toml"
    path.write_text(f'[[label]]\nlabel = "c"\nname = "c"\n[[label]]\nlabel = "a"\nname = "a"\n{members}\n')
    with pytest.raises(DataError, match="from must list labels of the data"):
        load_label_set(str(path))


@pytest.fixture(scope="module")
def merged(restored_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of seven labels, dark if malignant, and the run of a binary recipe on them."""
    folder = tmp_path_factory.mktemp("merged")
    rows = [["image", "label", "group", "split"]]
    for label in SEVEN:
        parts = ["train"] * 12 + ["val"] * 4 + ["calibrate"] * 2 + ["test"] * 4
        for index, part in enumerate(parts):
            random = np.random.default_rng([SEVEN.index(label), index])
            ground = random.uniform(20, 90, 3) if label in ("akiec", "bcc", "mel") else random.uniform(150, 230, 3)
            pixels = np.clip(ground + random.normal(0, 15, (48, 64, 3)), 0, 255).astype(np.uint8)
            (folder / f"{label}-{index}.jpg").write_bytes(encode_jpeg(Image.fromarray(pixels)))
            rows.append([f"{label}-{index}.jpg", label, f"{label}-{index}", part])
    with (folder / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "merged.toml").write_text(RECIPE)
    arguments = ["--data", folder / "data.csv", "--out", folder / "run", "--weights", restored_run / "model.keras"]
    done = CliRunner().invoke(train, list(map(str, [folder / "merged.toml", *arguments])), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return folder


def test_the_split_of_a_merged_run_has_the_merged_labels(merged: Path) -> None:
    with (merged / "run" / "split.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    with (merged / "data.csv").open(newline="") as file:
        given = list(csv.DictReader(file))
    assert [(r["image"], r["group"], r["split"]) for r in kept] == [(r["image"], r["group"], r["split"]) for r in given]
    for before, after in zip(given, kept, strict=True):
        assert after["label"] == ("malignant" if before["label"] in ("akiec", "bcc", "mel") else "benign")


def test_a_merged_run_is_evaluated_at_tuned_thresholds(merged: Path) -> None:
    metrics = json.loads((merged / "run" / "metrics.json").read_text())
    assert (metrics["decision"]["positives"], metrics["decision"]["negatives"]) == (12, 16)
    assert metrics["decision"]["positive"] == ["malignant"]
    assert (merged / "run" / "threshold.svg").is_file()


def test_a_merged_run_converts_and_drift_uses_its_split(merged: Path, tmp_path: Path) -> None:
    run, out = merged / "run", tmp_path / "family"
    done = CliRunner().invoke(
        convert, [str(run), "--out", str(out), "--variants", "float32,int8"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    model = read_model(out / "merged-int8.tflite")
    assert [label.label for label in model.spec.labels] == ["benign", "malignant"]
    assert [point.name for point in model.spec.operating_points] == ["sensitivity-90", "sensitivity-95"]
    files = [str(out / f"merged-{kind}.tflite") for kind in ("int8", "float32")]
    options = ["--data", str(run / "split.csv"), "--root", str(merged), "--json"]
    drift = ["drift", files[0], "--baseline", files[1], *options]
    done = CliRunner().invoke(bench, drift, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)["comparisons"][0]["other"]
    assert report["images"] == 28
    assert report["confusion"]["labels"] == ["benign", "malignant"]
