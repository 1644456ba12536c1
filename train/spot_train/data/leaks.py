"""Find leaks: training images of one data set that another one keeps for validation, calibration or test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from spot_bench.data.manifest import Item, Manifest

__all__ = ["Leak", "image_id", "named_leaks", "of_group"]

_SUFFIXES = ("_downsampled",)  # ISIC 2019 adds it to images that are also in HAM10000's archive


@dataclass(frozen=True, slots=True)
class Leak:
    """A training image, and the held-out image it leaks. `kind` is what they share."""

    kind: str  # "id", "group" or "near-duplicate"
    train: Item
    held_out: Item
    text: str


def image_id(item: Item) -> str:
    """Return the id of an image: the name of its file without folder and suffix, in lower case."""
    name = item.image.stem.lower()
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def of_group(manifest: Manifest, item: Item) -> str | None:
    """Return the group of an image, or None if the manifest states none."""
    return None if item.group in (manifest.name(item), item.image.as_posix()) else item.group


def named_leaks(
    train: tuple[str, Manifest, Sequence[Item]], held_out: tuple[str, Manifest, Sequence[Item]]
) -> Iterator[Leak]:
    """Yield the leaks that names show: images with the same id, and images with the same group.

    Each argument is a name for messages, a manifest, and those of its items that train or are held out. A training
    image is reported once, with the first image it leaks.
    """
    name, manifest, items = train
    other_name, other, others = held_out
    kinds: tuple[tuple[str, Callable[[Manifest, Item], str | None]], ...] = (
        ("id", lambda _, item: image_id(item)),
        ("group", of_group),
    )
    kept: dict[str, dict[str, Item]] = defaultdict(dict)
    for kind, key in kinds:
        for item in others:
            value = key(other, item)
            if value is not None:
                kept[kind].setdefault(value, item)
    for item in items:
        for kind, key in kinds:
            value = key(manifest, item)
            found = kept[kind].get(value) if value is not None else None
            if found is not None:
                where = f"{other.name(found)} ({found.split or 'held out'} of {other_name})"
                text = f"{name} trains on {manifest.name(item)}, which has the same {kind} as {where}"
                yield Leak(kind, item, found, text)
                break
