"""The study of whether a network can tell which data set an image comes from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from experiments import source_clue
from experiments.source_clue import Images, divide, read_images, small_network
from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import read_manifest, write_manifest
from spot_bench.data.splits import split
from spot_edge.errors import DataError
from spot_train.recipes.recipe import load_recipe

RECIPE = """
name = "clue"
[train]
stored_size = 128
[network]
size = 96
[[sources]]
name = "other"
licence = "CC0"
native = 256
[sources.classes]
round = "circle"
angular = ["square", "triangle"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Shapes that are split, and a source of which some are only known to be angular."""
    (tmp_path / "clue.toml").write_text(RECIPE)
    draw_shapes(tmp_path / "data", per_class=20, seed=1)
    write_manifest(split(read_manifest(tmp_path / "data"), seed=0), tmp_path / "data.csv")
    draw_shapes(tmp_path / "other", per_class=10, seed=2)
    for image in list((tmp_path / "other").glob("*/*")):
        image.rename(image.with_name(f"other-{image.name}"))
    manifest = read_manifest(tmp_path / "other")
    coarse = {"circle": "round", "square": "angular", "triangle": "triangle"}
    items = tuple(dataclasses.replace(item, label=coarse[item.label]) for item in manifest.items)
    write_manifest(dataclasses.replace(manifest, items=items), tmp_path / "other.csv")
    return tmp_path


def read(folder: Path, label: str, reduced_to: int = 0) -> Images:
    recipe = load_recipe(str(folder / "clue.toml"))
    return read_images(recipe, folder / "data.csv", ("other", folder / "other.csv"), label, reduced_to)


def test_only_images_with_a_label_of_one_class_are_used(folder: Path) -> None:
    train = sum(i.label == "circle" for i in read_manifest(folder / "data.csv").split("train").items)
    assert np.bincount(read(folder, "circle").from_source).tolist() == [train, 10]
    assert np.bincount(read(folder, "triangle").from_source)[1] == 10
    with pytest.raises(DataError, match="both the data and other need training images of 'square'"):
        read(folder, "square")


def test_the_control_reduces_only_the_source(folder: Path) -> None:
    plain, reduced = read(folder, "circle"), read(folder, "circle", 24)
    own = plain.from_source == 0
    np.testing.assert_array_equal(plain.pixels[own], reduced.pixels[own])

    def detail(images: Images) -> float:
        return float(np.abs(np.diff(images.pixels[~own].astype(float), axis=2)).max(axis=(1, 2, 3)).mean())

    assert detail(reduced) < 0.7 * detail(plain)
    assert (plain.native, reduced.native) == (256, 24)


def test_all_images_of_a_lesion_are_learned_from_or_held_out() -> None:
    groups = np.array([f"L{n // 2}" for n in range(80)])
    images = Images(np.zeros((80, 2, 2, 3), np.uint8), np.repeat([0, 1], [60, 20]), groups, 0)
    fit, out = divide(images)
    assert not set(fit.groups) & set(out.groups)
    assert np.bincount(out.from_source).tolist() == [18, 6]


@pytest.mark.parametrize("kind", source_clue.INPUTS)
def test_the_network_has_a_few_hundred_thousand_weights(kind: str) -> None:
    assert 100_000 < small_network(kind).count_params() < 500_000


@pytest.mark.long
def test_the_study_prints_both_inputs_without_and_with_sharpness(folder: Path) -> None:
    draw_shapes(folder / "more", per_class=60, seed=3)
    write_manifest(split(read_manifest(folder / "more"), seed=0), folder / "data.csv")
    arguments = ["--data", str(folder / "data.csv"), "--source", f"other={folder / 'other.csv'}", "--class", "circle"]
    options = ["--recipe", str(folder / "clue.toml"), "--epochs", "1", "--reduced-to", "16"]
    done = CliRunner().invoke(source_clue.main, [*arguments, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:7]] == [
        [kind, share] for kind in ("image", "detail") for share in ("off", "on", "on")
    ]
    assert lines[-1].startswith("n = ")


def test_sharpness_brings_sharper_images_to_the_source_and_leaves_its_own(folder: Path) -> None:
    images = read(folder, "circle", 24)
    rows = np.arange(len(images.pixels))
    off, on = (source_clue.seen_pixels(images, share, rows) for share in (0.0, 1.0))
    changed = [not np.array_equal(one, other) for one, other in zip(off, on, strict=True)]
    assert changed == (images.from_source == 0).tolist()
