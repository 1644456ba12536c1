"""A small network that is trained in seconds, the run directory around it, and the model files made from it.

Tests of conversion need a network with every kind of layer, not a good one. Tests of other packages convert a
MobileNetV2: `shapes_family` in tests/conftest.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from spot_bench.data.drawn import draw_shape
from spot_convert.commands.convert import convert
from spot_convert.run import Run, read_run
from spot_edge.errors import CheckError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec

SIZE = 48
KINDS = ("circle", "square", "triangle")
IMAGES = {"train": 40, "val": 14, "calibrate": 8, "test": 2}  # of each kind
RECIPE = """
name = "small"
[retrain]
steps = 10
sparsity = 0.4
clusters = 31
[mix]
bytes = 1.5
products = 0.5
"""


def small_network() -> keras.Model:
    """Convolutions, depthwise ones, batch norms, ReLU6, a residual connection and a dropout: 10 weighted layers."""
    layers = keras.layers
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")

    def normalized(x: Any, name: str, *, relu: bool = True) -> Any:
        x = layers.BatchNormalization(momentum=0.8, name=f"{name}_BN")(x)
        return layers.ReLU(6.0)(x) if relu else x

    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    x = normalized(layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="first")(x), "first")
    for number, channels in ((1, 24), (2, 32)):
        deep = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, name=f"deep{number}")(x)
        wide = layers.Conv2D(channels, 1, use_bias=False, name=f"wide{number}")(normalized(deep, f"deep{number}"))
        x = normalized(wide, f"wide{number}", relu=False)
    y = normalized(layers.Conv2D(128, 1, use_bias=False, name="expand")(x), "expand")
    y = normalized(layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="deep3")(y), "deep3")
    y = normalized(layers.Conv2D(32, 1, use_bias=False, name="project")(y), "project", relu=False)
    x = layers.Add()([x, y])
    features = normalized(layers.Conv2D(64, 1, use_bias=False, name="last")(x), "last")
    evidence = layers.Conv2D(3, 1, name="evidence")(layers.Dropout(0.1)(features))
    embedding = layers.GlobalAveragePooling2D(name="embedding")(features)
    return keras.Model(image, {"evidence": evidence, "embedding": embedding})


def make_small_run(folder: Path) -> None:
    """Draw shapes, train the small network on them, and write the run directory."""
    rows, tensors, truth, seed = ["image,label,group,split"], [], [], 0
    for split, count in IMAGES.items():
        for label, kind in enumerate(KINDS):
            (folder / "images" / kind).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                seed += 1
                path = folder / "images" / kind / f"{split}-{number}.png"
                draw_shape(kind, seed, 64, 48).save(path)
                rows.append(f"{kind}/{path.name},{kind},group{seed},{split}")
                if split == "train":
                    tensors.append(prepare(Source.of(path), ImageSpec(SIZE)).tensor[0])
                    truth.append(label)
    keras.utils.set_random_seed(1)
    body, images = small_network(), np.array(tensors)
    logits = keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output["evidence"]))
    logits.compile(keras.optimizers.Adam(3e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    augmented = np.concatenate([images, images[:, ::-1], images[:, :, ::-1], np.rot90(images, 1, (1, 2))])
    logits.fit(augmented, np.tile(truth, 4), batch_size=32, epochs=12, verbose=0)
    body.save(folder / "model.keras")
    (folder / "split.csv").write_text("\n".join(rows) + "\n")
    (folder / "recipe.toml").write_text(RECIPE)
    labels = [{"label": kind, "name": kind} for kind in KINDS]
    training = {"data": "drawn shapes", "licence": "CC0", "notice": "Not a diagnosis."}
    about = {"schema": 1, "name": "small", "labels": labels, "image": {"size": SIZE}, "training": training}
    about |= {"recipe_sha256": "0" * 64, "split_sha256": "1" * 64, "data": str(folder / "images")}
    (folder / "run.json").write_text(json.dumps(about))


@pytest.fixture(scope="session")
def small_run(made_once: Callable[..., Path]) -> Path:
    """The run directory of the small network."""
    return made_once("small-run", make_small_run)


@pytest.fixture(scope="session")
def run(small_run: Path) -> Run:
    return read_run(small_run)


@pytest.fixture(scope="session")
def small_family(small_run: Path, made_once: Callable[..., Path]) -> Path:
    """The files of every variant that needs no other environment; some may fail the drift gate."""
    variants = "float32,float16,dynamic,int8,int8-mixed,int16x8,int4,pruned-int8,clustered-int8"

    def make(folder: Path) -> None:
        options = [str(small_run), "--out", str(folder / "family"), "--variants", variants]
        done = CliRunner().invoke(convert, options)
        assert done.exception is None or isinstance(done.exception, CheckError), done.output
        for text in ("MB compressed", "same top class as float32", "small-int8.tflite", "margin"):
            assert text in done.output

    return made_once("small-family", make) / "family"


@pytest.fixture(scope="session")
def small_file(small_family: Path) -> Callable[[str], Path]:
    """small_file(variant): the path of that variant's file, whether it passed the gate or not."""
    return lambda variant: next(small_family.rglob(f"small-{variant}.tflite"))


@pytest.fixture
def changed_run(small_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """changed_run(file=text, ...): a copy of the small run with other contents of some files."""

    def copy(**changes: str) -> Path:
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name in ("run.json", "split.csv", "model.keras", "recipe.toml"):
            changed = changes.get(name.partition(".")[0])
            if changed is None:
                (folder / name).symlink_to(small_run / name)
            else:
                (folder / name).write_text(changed)
        return folder

    return copy
