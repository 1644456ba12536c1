"""Measure whether a network can tell which data set an image comes from: `python -m experiments.source_clue`.

Two data sets differ in how often each class occurs. If a network recognizes the data set, for example by its blur, it
can guess the class from that instead of from the lesion. `augment.sharpness` is meant to prevent this. To test it, this
study trains a small network to tell the images of the data from those of one source of a recipe:

    python -m experiments.source_clue --data HAM/ham10000-split.csv --source isic2017=ISIC17/isic2017.csv

- All images have the same class (`--class`), so the class gives no hint.
- Only training images are used. The network learns from 70 % of the lesions and predicts the data set of the others.
- The recipe augments all images, once without and once with `augment.sharpness`. "on - off" in the table is the change
  of the AUC. An AUC of 0.5 means that the network cannot tell the data sets apart.
- Each comparison has two inputs: the whole image, and its fine detail alone (grey, without local brightness, and at one
  contrast).

`augment.sharpness` only acts on images that are sharper than the source. Training scales all images to
`train.stored_size`; if the source has at least as many pixels, nothing is sharper, and the table has no rows with
sharpness. `--reduced-to 84` then makes an artificial example: it first scales the source's images down to 84 pixels, so
that their blur gives them away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from spot_bench.report.tables import align
from spot_bench.stats.calibration import softmax
from spot_bench.stats.intervals import Estimate, bootstrap
from spot_bench.stats.metrics import auc, balanced_accuracy
from spot_edge.errors import DataError
from spot_edge.model.spec import ImageSpec
from spot_train.data.augment import RandomAugmentation
from spot_train.data.pixels import pixel_array
from spot_train.data.sharpness import Sharpness, reduced
from spot_train.loop.session import read_task
from spot_train.recipes.recipe import Recipe, load_recipe

SIDE = 128
WIDTHS = (24, 48, 96, 160)
VIEWS = 4  # the scores of a held-out image are the mean over this many augmented versions
INPUTS = ("image", "detail")  # what the network sees: the whole image, or its fine detail alone


@dataclass(frozen=True, slots=True)
class Images:
    """Images of one class from the data and from a source."""

    pixels: NDArray[np.uint8]
    from_source: NDArray[np.int64]  # 1 for images of the source, 0 for images of the data
    groups: NDArray[np.str_]  # lesions
    native: int  # side in pixels of the source's images, as in the recipe; 0: unknown

    def of(self, rows: NDArray[Any]) -> Images:
        """Return the images at these rows."""
        return Images(self.pixels[rows], self.from_source[rows], self.groups[rows], self.native)


def read_images(recipe: Recipe, data: Path, source: tuple[str, Path], label: str, reduced_to: int) -> Images:
    """Read the training images of the class `label` from the data and from a source.

    Images of the source that may show several classes are left out. `reduced_to` scales the source's images down to
    that side and up again; 0 leaves them as they are.
    """
    name, path = source
    chosen = tuple(entry for entry in recipe.sources if entry.name == name)
    if not chosen:
        raise DataError(f"{recipe.name} has no source {name!r}")
    task = read_task(replace(recipe, sources=chosen), data, lambda line: None, {name: path})
    names = [known.label for known in task.labels.labels]
    if label not in names:
        raise DataError(f"no class is called {label!r} ({', '.join(names)})")
    own = task.manifest.split("train")
    own = replace(own, items=tuple(item for item in own.items if item.label == label))
    (extra,) = task.extras
    rows = zip(extra.manifest.items, extra.allowed, strict=True)
    other = replace(extra.manifest, items=tuple(item for item, allowed in rows if allowed == (names.index(label),)))
    if not own.items or not other.items:
        raise DataError(f"both the data and {name} need training images of {label!r}")
    stored = recipe.train.stored_size
    pixels = [pixel_array(manifest, ImageSpec(stored)) for manifest in (own, other)]
    native = chosen[0].native
    if reduced_to:
        pixels[1], native = np.stack([reduced(image, reduced_to) for image in pixels[1]]), reduced_to
    return Images(
        np.concatenate(pixels),
        np.repeat([0, 1], [len(own.items), len(other.items)]),
        np.array([f"{n}:{item.group}" for n, part in enumerate((own, other)) for item in part.items]),
        native,
    )


def divide(images: Images, share: float = 0.3) -> tuple[Images, Images]:
    """Return the images to learn from and the held-out images.

    Held out are all images of a random `share` of the lesions, drawn separately for the data and the source.
    """
    random = np.random.default_rng(0)
    held_out: list[str] = []
    for value in (0, 1):
        groups = np.unique(images.groups[images.from_source == value])
        held_out += list(random.permutation(groups)[: max(1, round(share * len(groups)))])
    out = np.isin(images.groups, held_out)
    return images.of(~out), images.of(out)


def small_network(kind: str) -> Any:
    """Build an untrained network of about 210,000 weights, from an image to two logits: data and source.

    With the kind "detail", its first layers keep only the fine detail of the image.
    """
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(image)
    if kind == "detail":
        grey = keras.layers.Lambda(lambda v: ops.mean(v, axis=-1, keepdims=True), output_shape=(SIDE, SIDE, 1))(x)
        smooth = keras.layers.AveragePooling2D(5, 1, "same")(grey)
        x = keras.layers.Subtract()([grey, smooth])
        x = keras.layers.Lambda(lambda v: v / (ops.std(v, axis=(1, 2, 3), keepdims=True) + 1e-3))(x)
    for width in WIDTHS:
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))


def source_scores(
    recipe: Recipe, sharpness: float, kind: str, fit: Images, out: Images, epochs: int
) -> NDArray[np.float64]:
    """Train a network on `fit`, and return its scores for each image of `out`, with columns for data and source.

    `sharpness` is the value of `augment.sharpness`, and `kind` is one of INPUTS.
    """
    keras.utils.set_random_seed(1)
    augment = RandomAugmentation(recipe.augment, SIDE)
    stored = keras.Input(fit.pixels.shape[1:], dtype="uint8")
    model, batch = keras.Model(stored, small_network(kind)(augment(stored))), min(32, len(fit.pixels))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=keras.backend.backend() == "jax")
    counts = np.bincount(fit.from_source, minlength=2)
    weights = len(fit.from_source) / (2 * counts[fit.from_source])
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(fit.pixels))
        for first in range(0, len(order) - batch + 1, batch):
            rows = order[first : first + batch]
            seen = seen_pixels(fit, sharpness, rows)
            model.train_on_batch(seen, fit.from_source[rows], sample_weight=weights[rows])
    total = np.zeros((len(out.pixels), 2))
    for view in range(VIEWS):
        augment.reseed((2, view))
        seen = seen_pixels(out, sharpness, np.arange(len(out.pixels)))
        total += softmax(model.predict(seen, batch_size=32, verbose=0)) / VIEWS
    return total


def seen_pixels(images: Images, share: float, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the images at these rows after `augment.sharpness`.

    A share of 1 reduces every image of the data to the side of the source's images; 0 reduces none.
    """
    step = Sharpness(share, images.native, images.from_source == 0)
    return step.apply(images.pixels[rows], rows, np.zeros(len(rows)))


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Manifest of the data set.")
@click.option("--source", required=True, metavar="NAME=MANIFEST", help="A source of the recipe, and its manifest.")
@click.option("--recipe", "recipe_name", default="spot-sources", show_default=True)
@click.option("--class", "label", default="mel", show_default=True, help="Use only images of this class.")
@click.option(
    "--reduced-to",
    type=click.IntRange(0, 1024),
    default=0,
    help="First scale the source's images down to this side [default: do not].",
)
@click.option("--epochs", type=click.IntRange(1), default=12, show_default=True, help="Epochs of the small network.")
@click.option("--most", type=click.IntRange(20), default=2000, show_default=True, help="Use at most this many images.")
def main(data: Path, source: str, recipe_name: str, label: str, reduced_to: int, epochs: int, most: int) -> None:
    """Measure how well a network tells a recipe's source from the data, without and with `augment.sharpness`.

    An AUC of 0.5 means that it cannot tell them apart.
    """
    name, equals, path = source.partition("=")
    if not equals:
        raise click.BadParameter(f"{source!r} is not NAME=MANIFEST", param_hint="--source")
    recipe = load_recipe(recipe_name)
    images = read_images(recipe, data, (name, Path(path)), label, reduced_to)
    images = images.of(np.sort(np.random.default_rng(0).permutation(len(images.pixels))[:most]))
    fit, out = divide(images)
    click.echo(f"{label}: training on {_described(fit)}, held out {_described(out)}", err=True)
    shares = (0.0, 1.0) if 0 < images.native < recipe.train.stored_size else (0.0,)
    if len(shares) == 1:
        why = "has at least as many pixels as train.stored_size" if images.native else "has no native in the recipe"
        click.echo(f"note: {name} {why}, so augment.sharpness changes nothing. See --reduced-to", err=True)
    positive = out.from_source == 1
    rows = [["input", "sharpness", "AUC", "balanced accuracy"]]
    for kind in INPUTS:
        scores = [source_scores(recipe, share, kind, fit, out, epochs) for share in shares]
        for share, score in zip(("off", "on"), scores, strict=False):
            area = bootstrap(lambda p, s: auc(p, s[:, 1]), out.groups, positive, score)
            balanced = bootstrap(balanced_accuracy, out.groups, out.from_source, score)
            rows.append([kind, share, _shown(area), _shown(balanced)])
        if len(scores) == 1:
            continue
        change = bootstrap(
            lambda p, one, two: auc(p, two[:, 1]) - auc(p, one[:, 1]), out.groups, positive, scores[0], scores[1]
        )
        rows.append([kind, "on - off", _shown(change), ""])
    for line in align(rows):
        click.echo(line)
    number, lesions = len(out.pixels), len(np.unique(out.groups))
    click.echo(f"n = {number} held-out images of {lesions} lesions; 95 % intervals, by lesion")


def _described(images: Images) -> str:
    own, other = np.bincount(images.from_source, minlength=2)
    return f"{own} images of the data and {other} of the source"


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


if __name__ == "__main__":
    main()
