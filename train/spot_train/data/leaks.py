"""Find leaks: training images of one data set that another one keeps for validation, calibration or test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from spot_bench.data.manifest import Item, Manifest, image_id
from spot_edge.errors import DataError
from spot_train.data.findings import counted
from spot_train.data.images import BITS, THRESHOLD, ImageRecord, near_between

__all__ = ["Divided", "Leak", "leaks_between", "named_leaks", "refuse"]

_LISTED = 3  # leaks to name in an error

Row = tuple[Item, ImageRecord | None]


@dataclass(frozen=True, slots=True)
class Leak:
    """A training image, and the held-out image it leaks. `kind` is what they share."""

    kind: str  # "id", "group" or "near-duplicate"
    train: Item
    held_out: Item
    text: str


@dataclass(frozen=True, slots=True)
class Divided:
    """A data set, divided into the images that may train and those that may be held out."""

    manifest: Manifest
    name: str  # for messages
    train: tuple[Row, ...]
    held_out: tuple[Row, ...]

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        records: Sequence[ImageRecord] = (),
        *,
        name: str = "",
        is_source: bool = False,
        never_trains: bool = False,
    ) -> Divided:
        """Divide `manifest` by its splits.

        Without splits, all images of a source train, and every image of the data itself may end up in any split.
        """
        known: Sequence[ImageRecord | None] = records or [None] * len(manifest.items)
        rows: list[Row] = list(zip(manifest.items, known, strict=True))
        name = name or manifest.origin.name
        if never_trains:
            return cls(manifest, name, (), tuple(rows))
        train = tuple(row for row in rows if row[0].split in (None, "train"))
        held_out = tuple(row for row in rows if row[0].split != "train" and not (is_source and row[0].split is None))
        return cls(manifest, name, train, held_out)


def _group(manifest: Manifest, item: Item) -> str | None:
    """Return the group of an image, or None if the manifest states none."""
    return None if item.group in (manifest.name(item), item.image.as_posix()) else item.group


def named_leaks(one: Divided, other: Divided) -> Iterator[Leak]:
    """Yield the training images of `one` that have the id or the group of an image that `other` holds out.

    Each training image is reported once, with the first image it leaks.
    """
    keys: dict[str, Callable[[Manifest, Item], str | None]] = {"id": lambda _, item: image_id(item), "group": _group}
    kept: dict[str, dict[str, Item]] = defaultdict(dict)
    for kind, key in keys.items():
        for item, _ in other.held_out:
            value = key(other.manifest, item)
            if value is not None:
                kept[kind].setdefault(value, item)
    for item, _ in one.train:
        for kind, key in keys.items():
            value = key(one.manifest, item)
            found = kept[kind].get(value) if value is not None else None
            if found is not None:
                yield _leak(kind, one, item, other, found, f"which has the same {kind} as")
                break


def leaks_between(one: Divided, other: Divided, near: int = THRESHOLD) -> Iterator[Leak]:
    """Yield the training images of `one` that `other` holds out: by id, by group, or as a near-duplicate.

    Each training image is reported once. Near-duplicates have hashes that differ in at most `near` bits.
    """
    named = list(named_leaks(one, other))
    yield from named
    reported = {id(leak.train) for leak in named}
    train = [(i, r.hashes) for i, r in one.train if r is not None and r.hashes is not None and id(i) not in reported]
    held_out = [(i, r.hashes) for i, r in other.held_out if r is not None and r.hashes is not None]
    if not train or not held_out:
        return
    pairs = near_between(np.stack([h for _, h in train]), np.stack([h for _, h in held_out]), near)
    closest: dict[int, tuple[int, int]] = {}
    for row, column, bits in pairs:
        closest[row] = min(closest.get(row, (bits, column)), (bits, column))
    for row, (bits, column) in sorted(closest.items()):
        note = f"; {bits} of {BITS} bits differ"
        how = "which is nearly the same image as"
        yield _leak("near-duplicate", one, train[row][0], other, held_out[column][0], how, note)


def _leak(kind: str, one: Divided, item: Item, other: Divided, found: Item, how: str, note: str = "") -> Leak:
    where = f"{other.manifest.name(found)} ({found.split or 'not split'}, {other.name}{note})"
    return Leak(kind, item, found, f"{one.name} may train on {one.manifest.name(item)}, {how} {where}")


def refuse(leaks: Sequence[Leak], advice: str) -> None:
    """Raise DataError if there are any leaks, with the first of them and what to do."""
    if leaks:
        listed = "; ".join(leak.text for leak in leaks[:_LISTED])
        more = f"; and {len(leaks) - _LISTED} more" if len(leaks) > _LISTED else ""
        raise DataError(f"{counted(len(leaks), 'leak')}: {listed}{more}. {advice}")
