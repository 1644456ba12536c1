"""Measure how well a model's quality limits detect a class that it was not trained on.

For each class to leave out: train `spot-small` on the other classes at 160 pixels for a few epochs, convert it, and run
`bench quality` on the test split with the test images of that class as other images:

    python -m experiments.left_out --data HAM/ham10000-split.csv --weights WEIGHTS --out runs/left-out --without bcc
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import click
import tomli_w

from spot_bench.data.manifest import Item, read_manifest

SMALL = ("network.size=160", "train.sizes=[160]", "train.stored_size=176", "train.mixup=0.0", "train.validate_every=1")
_PATH = click.Path(path_type=Path)


@click.command()
@click.option("--data", required=True, type=_PATH, help="Manifest of HAM10000 with its split.")
@click.option("--weights", required=True, type=_PATH, help="Pretrained weights of width 0.35.")
@click.option("--out", required=True, type=_PATH, help="Folder for runs, model files and reports.")
@click.option("--without", "labels", multiple=True, required=True, help="Class to leave out. Repeatable.")
@click.option("--epochs", type=int, default=4, show_default=True, help="Epochs of each training.")
def left_out(data: Path, weights: Path, out: Path, labels: tuple[str, ...], epochs: int) -> None:
    """Train without a class, convert, and measure how often the quality limits stop its images."""
    items = read_manifest(data).items
    for label in labels:
        folder = out / label
        if folder.exists():
            raise click.UsageError(f"{folder}: already exists. Name another folder with --out")
        folder.mkdir(parents=True)
        _write([item for item in items if item.label != label], folder / "known.csv")
        _write([item for item in items if item.label == label and item.split == "test"], folder / "left-out.csv")
        _write_labels(label, folder / "labels.toml")
        settings = [f"train.epochs={epochs}", f'labels="{(folder / "labels.toml").resolve()}"', *SMALL]
        options = [word for setting in settings for word in ("--set", setting)]
        known, run, family = folder / "known.csv", folder / "run", folder / "family"
        _spot_edge("train", "spot-small", "--data", known, "--weights", weights, "--out", run, *options)
        _spot_edge("convert", run, "--out", family, "--variants", "int8")
        (model,) = family.glob("*int8.tflite")
        other = f"{label}={folder / 'left-out.csv'}"
        _spot_edge(
            "bench", "quality", model, "--data", known, "--images", 1, "--other", other, "--out", folder / "quality"
        )


def _write(items: Sequence[Item], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "group", "split"])
        writer.writerows([item.image.resolve(), item.label, item.group, item.split] for item in items)


def _write_labels(without: str, path: Path) -> None:
    record = tomllib.loads((files("spot_train.labels") / "ham10000.toml").read_text())
    record["label"] = [label for label in record["label"] if label["label"] != without]
    path.write_text(tomli_w.dumps(record))


def _spot_edge(*arguments: object) -> None:
    subprocess.run([Path(sys.executable).with_name("spot-edge"), *map(str, arguments)], check=True)


if __name__ == "__main__":
    left_out()
