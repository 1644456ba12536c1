"""Split a data set like published studies did, to compare with their figures: CSV in, CSV out.

python -m experiments.protocols single-image-lesions labels.csv --out split.csv
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from spot_bench.data.manifest import Item, Manifest, read_manifest, write_manifest
from spot_bench.data.splits import split
from spot_edge.errors import DataError, OutputError, SpotError

__all__ = ["PROTOCOLS", "by_image", "by_lesion", "single_image_lesions"]

SHARE = 0.17  # of the single-image lesions, as in the original notebook


def single_image_lesions(manifest: Manifest, seed: int = 0) -> Manifest:
    """Validate on 17 % of each class of the lesions with a single image. All other images are for training."""
    images = Counter(item.group for item in manifest.items)
    single = [item for item in manifest.items if images[item.group] == 1]
    if not single:
        raise DataError(f"{manifest.origin}: no lesion has a single image to validate on")
    divided = split(replace(manifest, items=tuple(single)), {"train": 1 - SHARE, "val": SHARE}, seed)
    split_of = {item.group: item.split for item in divided.items}
    return replace(manifest, items=tuple(replace(i, split=split_of.get(i.group, "train")) for i in manifest.items))


def by_lesion(manifest: Manifest, seed: int = 0) -> Manifest:
    """Validate on as many images as `single_image_lesions`, but on whole lesions of every kind."""
    return split(manifest, _as_many(manifest), seed)


def by_image(manifest: Manifest, seed: int = 0) -> Manifest:
    """Validate on as many images, split image by image. Lesions then cross the split, and the figures are too good."""
    alone = replace(manifest, items=tuple(replace(item, group=manifest.name(item)) for item in manifest.items))
    return split(alone, _as_many(manifest), seed)


PROTOCOLS: dict[str, Callable[[Manifest, int], Manifest]] = {
    "single-image-lesions": single_image_lesions,
    "by-lesion": by_lesion,
    "by-image": by_image,
}


def _as_many(manifest: Manifest) -> dict[str, float]:
    images = Counter(item.group for item in manifest.items)
    share = SHARE * sum(number == 1 for number in images.values()) / len(manifest.items)
    if not share:
        raise DataError(f"{manifest.origin}: no lesion has a single image, so there is nothing to count")
    return {"train": 1 - share, "val": share}


def _grouped(manifest: Manifest, column: str) -> Manifest:
    """Return `manifest` with the groups taken from another column."""

    def regroup(item: Item) -> Item:
        if not item.attributes.get(column):
            raise DataError(f"{manifest.origin}: {manifest.name(item)} has no {column!r}. Name the column with --group")
        others = {key: value for key, value in item.attributes.items() if key != column}
        return replace(item, group=item.attributes[column], attributes=others)

    return replace(manifest, items=tuple(regroup(item) for item in manifest.items))


@click.command()
@click.argument("protocol", type=click.Choice(list(PROTOCOLS)))
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="CSV file to write.")
@click.option("--group", default="lesion_id", show_default=True, help="Column of the lesion.")
@click.option("--seed", default=0, show_default=True, help="A different seed gives a different split.")
def protocols(protocol: str, labels: Path, out: Path, group: str, seed: int) -> None:
    """Split the images of the CSV file LABELS as PROTOCOL does. Use it only for comparisons."""
    if out.exists():
        raise OutputError(f"{out}: already exists. Name a new file with --out")
    manifest = read_manifest(labels)
    manifest = PROTOCOLS[protocol](manifest if group == "group" else _grouped(manifest, group), seed)
    write_manifest(manifest, out)
    counts = ", ".join(f"{name} {len(manifest.split(name).items)}" for name in manifest.splits)
    click.echo(f"{out}: {counts} images")


if __name__ == "__main__":
    try:
        protocols.main(prog_name="python -m experiments.protocols")
    except SpotError as error:
        click.echo(f"experiments.protocols: {error}", err=True)
        raise SystemExit(error.exit_code) from None
