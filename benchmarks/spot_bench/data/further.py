"""Further images for the drift gate: labelled data sets that join the first one, and images without labels.

Images that trained a network or set the ranges of its int8 file say little about what quantization costs elsewhere.
They stay out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spot_bench.data.manifest import Item, Manifest, image_id, read_manifest
from spot_edge.errors import DataError
from spot_edge.image.inputs import find_images

__all__ = ["USED", "joined", "read_further", "read_unlabelled", "refuse_used", "without_calibration"]

USED = ("train", "calibrate")  # splits whose images decided something about the network or its files


def without_calibration(manifest: Manifest) -> Manifest:
    """Drop the calibration images, which set the ranges of int8 files; DataError if no others are left."""
    kept = tuple(item for item in manifest.items if item.split != "calibrate")
    if not kept:
        raise DataError(
            f"{manifest.origin}: calibration images set the ranges of int8 files, so they cannot measure what "
            "quantization costs. Choose another split"
        )
    return manifest if len(kept) == len(manifest.items) else replace(manifest, items=kept)


def read_further(
    path: Path, split: str | None = None, *, root: Path | None = None, check_files: bool = True
) -> Manifest:
    """Read a further labelled data set: its `split`, or all images if it is not split; never calibration.

    Without `split`, read all splits except those of USED. DataError if nothing is left.
    """
    found = read_manifest(path, root=root, check_files=check_files)
    if split is None:
        found = replace(found, items=tuple(item for item in found.items if item.split not in USED))
        if not found.items:
            raise DataError(f"{path}: all its images are of training or calibration. Name other images")
        return found
    return without_calibration(found if split == "all" or not found.splits else found.split(split))


def read_unlabelled(path: Path, label: str) -> Manifest:
    """Read images without labels: a folder with images at any depth, an image, or a CSV manifest.

    The labels of a manifest are ignored. Its groups count, and its images of training and calibration are left out.
    Every item gets `label`, because items have one; no figure may use it.
    """
    if path.suffix.lower() == ".csv":
        found = read_manifest(path)
        items = tuple(replace(item, label=label, split=None) for item in found.items if item.split not in USED)
        if not items:
            raise DataError(f"{path}: all its images are of training or calibration. Name other images")
        return replace(found, items=items)
    images = [image for image in find_images([str(path)]) if image.problem is None]
    if not images:
        raise DataError(f"{path}: no images. Name a folder of images or a CSV manifest")
    return Manifest(tuple(Item(Path(image.path), label, image.relative) for image in images), path, path)


def joined(manifests: Sequence[Manifest]) -> Manifest:
    """Join data sets into one, whose image names are relative to their common folder. A single one stays as it is.

    Groups of the same name are the same lesion. Raise DataError for an image that two of them list.
    """
    first, *others = manifests
    if not others:
        return first
    homes: dict[str, Manifest] = {}
    items = []
    for manifest in manifests:
        for item in manifest.items:
            image = os.path.abspath(item.image)
            other = homes.setdefault(image, manifest)
            if other is not manifest:
                raise DataError(f"{manifest.origin}: {item.image} is in {other.origin} as well. Remove it from one")
            items.append(replace(item, image=Path(image)))
    folders = [os.path.abspath(manifest.folder or manifest.origin.parent) for manifest in manifests]
    try:
        folder = Path(os.path.commonpath(folders))
    except ValueError:  # different drives on Windows
        folder = None
    return Manifest(tuple(items), first.origin, folder)


def refuse_used(further: Manifest, data: Manifest, *sources: Manifest) -> None:
    """Raise DataError if `further` has an image or a group of the splits USED of `data` or of one of its `sources`.

    An image is recognized by its id, see `image_id`.
    """
    used = {
        key: (item, manifest)
        for manifest in (*sources, data)
        for item in manifest.items
        if item.split in USED
        for key in _keys(item)
    }
    for item in further.items:
        for key in _keys(item):
            if key in used:
                known, manifest = used[key]
                raise DataError(
                    f"{further.origin}: {item.image.name} belongs to {known.split} in {manifest.origin}. Remove "
                    "what trained or calibrated the network, or rename what has the same name only by chance"
                )


def _keys(item: Item) -> tuple[tuple[str, str], ...]:
    """Return what identifies an image: its name, and its group unless that is only the path of the image."""
    named = ("image", image_id(item))
    alone = Path(item.group).suffix and Path(item.group).stem == item.image.stem
    return (named,) if alone else (named, ("group", item.group))
