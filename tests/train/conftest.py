"""Data with extra sources, and a recipe for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spot_bench.data.drawn import draw_shapes
from spot_bench.data.manifest import read_manifest, write_manifest
from spot_bench.data.splits import split

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
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
