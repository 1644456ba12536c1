"""Check a data set for every problem before training spends hours on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest, read_manifest
from spot_train.data.findings import Balance, Finding, balance_of, counted, shown
from spot_train.data.images import BITS, THRESHOLD, ImageRecord, near_pairs, read_images
from spot_train.data.leaks import Divided, leaks_between
from spot_train.labels.labelset import LabelSet

__all__ = ["FEWEST_GROUPS", "SCHEMA", "Report", "check"]

SCHEMA = 1
FEWEST_GROUPS = 20  # per label: then 5 %, the smallest split by default, gets one of them
MOST_PAIRS = 10_000  # of near-duplicates to list

_NEEDED = ("train", "val")  # the splits that training requires

Row = tuple[Item, ImageRecord]


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check."""

    manifest: Manifest
    balance: Balance
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """The number of findings that would break training or make its metrics wrong."""
        return sum(finding.severity == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        total = self.balance.of()
        return {
            "schema": SCHEMA,
            "data": self.manifest.origin.name,
            "images": total.images,
            "groups": total.groups,
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "balance": self.balance.as_dict(),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check(
    path: Path,
    labels: LabelSet | None = None,
    *,
    root: Path | None = None,
    near: int = THRESHOLD,
    sources: Sequence[Path] = (),
    held_out: Sequence[Path] = (),
    read: Callable[[Manifest], list[ImageRecord]] = lambda manifest: read_images(manifest, lambda step: None),
) -> Report:
    """Check the data set at `path`. DataError if it is not a data set or has no images.

    `sources` are further manifests that train, `held_out` some whose images never train. Every image that one of the
    manifests trains on and another one holds out is an error.

    With a label set, labels are merged as in training. Two images are near-duplicates if at most `near` bits of their
    perceptual hashes differ.
    """
    findings: list[Finding] = []

    def problem(text: str) -> None:
        findings.append(Finding("error", "rows", text))

    manifest = read_manifest(path, root=root, check_files=False, on_problem=problem)
    if labels is not None:
        manifest = labels.apply(manifest)
    records = read(manifest)
    rows = list(zip(manifest.items, records, strict=True))
    balance = balance_of(manifest)
    findings += _broken(manifest, rows)
    findings += _labels(manifest, balance, labels)
    findings += _splits(manifest, balance)
    findings += _copies(manifest, rows)
    findings += _near(manifest, rows, near)
    others = [(other, place in held_out) for place in (*sources, *held_out) for other in [_other(place, problem)]]
    if others:
        parts = [Divided.of(manifest, records)]
        for other, never_trains in others:
            found = read(other)
            findings += _broken(other, list(zip(other.items, found, strict=True)))
            parts.append(Divided.of(other, found, is_source=not never_trains, never_trains=never_trains))
        findings += (
            Finding(
                "error",
                f"leak-{leak.kind}",
                leak.text,
                (one.manifest.name(leak.train), other.manifest.name(leak.held_out)),
            )
            for one, other in permutations(parts, 2)
            for leak in leaks_between(one, other, near)
        )
    return Report(manifest, balance, tuple(findings))


def _other(path: Path, problem: Callable[[str], None]) -> Manifest:
    return read_manifest(path, check_files=False, on_problem=problem)


def _broken(manifest: Manifest, rows: Sequence[Row]) -> Iterator[Finding]:
    for item, record in rows:
        if record.problem is not None:
            yield Finding("error", "images", record.problem, (manifest.name(item),))


def _labels(manifest: Manifest, balance: Balance, labels: LabelSet | None) -> Iterator[Finding]:
    known = [label.label for label in labels.labels] if labels is not None else list(balance.labels)
    listed = ", ".join(known)
    for label in balance.labels:
        if label not in known:
            images = counted(balance.of(label).images, "image")
            yield Finding("error", "labels", f"label {label!r} of {images} is not in the label set ({listed})")
    for label in known:
        if label not in balance.labels:
            yield Finding("error", "labels", f"label {label!r} of the label set has no image")
    if len(known) < 2:
        yield Finding("error", "labels", f"only one class ({listed}): training needs at least two")
    for name in _empty_folders(manifest):
        yield Finding("warning", "labels", f"the class folder {name!r} has no images")
    for label in balance.labels:
        count = balance.of(label)
        if count.groups < FEWEST_GROUPS:
            yield Finding(
                "warning",
                "labels",
                f"label {label!r} has {counted(count.images, 'image')} in {counted(count.groups, 'group')}: with fewer "
                f"than {FEWEST_GROUPS} groups some splits get none, and metrics for it are unreliable",
            )


def _splits(manifest: Manifest, balance: Balance) -> Iterator[Finding]:
    if not balance.splits:
        return
    for split in _NEEDED:
        if split not in balance.splits:
            yield Finding("error", "splits", f"the split {split!r} is empty: training needs {' and '.join(_NEEDED)}")
    for split in balance.splits:
        for label in balance.labels:
            if not balance.of(label, split).images:
                yield Finding(
                    "error" if split == "train" else "warning", "splits", f"no {split} image is labelled {label!r}"
                )


def _copies(manifest: Manifest, rows: Sequence[Row]) -> Iterator[Finding]:
    """Find byte-identical files. Contradicting labels and files in several splits are errors."""
    same: dict[str, list[Item]] = defaultdict(list)
    for item, record in rows:
        if record.digest is not None:
            same[record.digest].append(item)
    for items in same.values():
        if len(items) < 2:
            continue
        names = tuple(manifest.name(item) for item in items)
        labels, splits, groups = (
            _distinct(kind) for kind in zip(*((i.label, i.split, i.group) for i in items), strict=True)
        )
        if len(labels) > 1:
            text = f"the same file has the labels {' and '.join(labels)}"
        elif len(splits) > 1:
            text = f"the same file is in the splits {' and '.join(map(str, splits))}"
        elif len(groups) > 1:
            text = f"the same file is in {len(groups)} groups"
        else:
            text = f"the same file is listed {len(items)} times"
        yield Finding(
            "error" if len(labels) > 1 or len(splits) > 1 else "warning", "duplicates", f"{text}: {shown(names)}", names
        )


def _near(manifest: Manifest, rows: Sequence[Row], threshold: int) -> Iterator[Finding]:
    """Find near-duplicates in different groups; those in different splits come first."""
    hashed = [(item, record.digest, record.hashes) for item, record in rows if record.hashes is not None]
    if len(hashed) < 2:
        return
    hashes = np.stack([hashes for _, _, hashes in hashed if hashes is not None])
    differing = (_codes(item.group for item, _, _ in hashed), _codes(digest for _, digest, _ in hashed))
    pairs = list(islice(near_pairs(hashes, threshold, differing), MOST_PAIRS + 1))
    items = [item for item, _, _ in hashed]
    for i, j, bits in sorted(pairs[:MOST_PAIRS], key=lambda p: (items[p[0]].split == items[p[1]].split, p[2], p)):
        one, other = items[i], items[j]
        where = f"in {one.split} and {other.split}" if one.split != other.split else "in two groups"
        labels = f", labelled {one.label} and {other.label}" if one.label != other.label else ""
        names = manifest.name(one), manifest.name(other)
        text = f"nearly the same image {where}{labels}: {', '.join(names)} ({bits} of {BITS} bits differ)"
        yield Finding("warning", "near-duplicates", text, names)
    if len(pairs) > MOST_PAIRS:
        text = f"more than {MOST_PAIRS} pairs of near-duplicates: the search stopped there"
        yield Finding("warning", "near-duplicates", text)


def _empty_folders(manifest: Manifest) -> list[str]:
    if not manifest.origin.is_dir():
        return []
    folders = [entry.name for entry in manifest.origin.iterdir() if entry.is_dir() and entry.name[0] != "."]
    found = {item.image.relative_to(manifest.origin).parts[0] for item in manifest.items}
    return sorted(set(folders) - found)


def _codes(values: Iterable[Hashable]) -> NDArray[np.int64]:
    """Number the values: equal values get equal numbers."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
