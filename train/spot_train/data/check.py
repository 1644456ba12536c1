"""What is wrong with a data set, all of it, before hours are spent on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest, read_manifest
from spot_train.data.findings import Balance, Finding, balance_of, counted, shown
from spot_train.data.images import BITS, THRESHOLD, Picture, near_pairs, read_pictures
from spot_train.labels.labelset import LabelSet

__all__ = ["FEWEST_GROUPS", "SCHEMA", "Report", "check"]

SCHEMA = 1
FEWEST_GROUPS = 20  # of a label: the smallest part of the default split, 5 %, then gets one of them
MOST_PAIRS = 10_000  # of near-duplicates: a data set with more has one answer to all of them

_NEEDED = ("train", "val")  # the parts that training cannot do without

Row = tuple[Item, Picture]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found."""

    manifest: Manifest
    balance: Balance
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many of the findings training would trip or cheat over."""
        return sum(finding.severity == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
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
    read: Callable[[Manifest], list[Picture]] = lambda manifest: read_pictures(manifest, lambda step: None),
) -> Report:
    """All that is wrong with the data set at `path`; DataError where it is none at all, or lists nothing.

    With `labels`, its labels are what training would make of them. `near` is how many bits of two pictures' hashes may
    differ for them to count as nearly the same.
    """
    findings: list[Finding] = []

    def problem(text: str) -> None:
        findings.append(Finding("error", "rows", text))

    manifest = read_manifest(path, root=root, check_files=False, on_problem=problem)
    if labels is not None:
        manifest = labels.apply(manifest)
    pictures = read(manifest)
    rows = list(zip(manifest.items, pictures, strict=True))
    balance = balance_of(manifest)
    findings += _broken(manifest, rows)
    findings += _labels(manifest, balance, labels)
    findings += _parts(manifest, balance)
    findings += _copies(manifest, rows)
    findings += _near(manifest, rows, near)
    return Report(manifest, balance, tuple(findings))


def _broken(manifest: Manifest, rows: Sequence[Row]) -> Iterator[Finding]:
    for item, picture in rows:
        if picture.problem is not None:
            yield Finding("error", "images", picture.problem, (manifest.name(item),))


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
        yield Finding("error", "labels", f"one class only ({listed}): there is nothing to tell apart")
    for name in _empty_folders(manifest):
        yield Finding("warning", "labels", f"the class folder {name!r} holds no image")
    for label in balance.labels:
        count = balance.of(label)
        if count.groups < FEWEST_GROUPS:
            yield Finding(
                "warning",
                "labels",
                f"label {label!r} has {counted(count.images, 'image')} of {counted(count.groups, 'group')}: with fewer "
                f"than {FEWEST_GROUPS} groups a split leaves parts without it, and figures on it say little",
            )


def _parts(manifest: Manifest, balance: Balance) -> Iterator[Finding]:
    if not balance.parts:
        return
    for part in _NEEDED:
        if part not in balance.parts:
            yield Finding("error", "parts", f"no image is in the part {part!r}: training needs {' and '.join(_NEEDED)}")
    for part in balance.parts:
        for label in balance.labels:
            if not balance.of(label, part).images:
                yield Finding(
                    "error" if part == "train" else "warning", "parts", f"no {part} image is labelled {label!r}"
                )


def _copies(manifest: Manifest, rows: Sequence[Row]) -> Iterator[Finding]:
    """Files that are the same byte for byte: contradictions and leaks are errors."""
    same: dict[str, list[Item]] = defaultdict(list)
    for item, picture in rows:
        if picture.digest is not None:
            same[picture.digest].append(item)
    for items in same.values():
        if len(items) < 2:
            continue
        names = tuple(manifest.name(item) for item in items)
        labels, parts, groups = (
            _distinct(kind) for kind in zip(*((i.label, i.split, i.group) for i in items), strict=True)
        )
        if len(labels) > 1:
            text = f"one file under the labels {' and '.join(labels)}"
        elif len(parts) > 1:
            text = f"one file in the parts {' and '.join(map(str, parts))}"
        elif len(groups) > 1:
            text = f"one file in {len(groups)} groups"
        else:
            text = f"one file listed {len(items)} times"
        yield Finding(
            "error" if len(labels) > 1 or len(parts) > 1 else "warning", "duplicates", f"{text}: {shown(names)}", names
        )


def _near(manifest: Manifest, rows: Sequence[Row], threshold: int) -> Iterator[Finding]:
    """Pictures of different groups that look nearly the same, those in different parts first."""
    seen = [(item, picture.digest, picture.looks) for item, picture in rows if picture.looks is not None]
    if len(seen) < 2:
        return
    hashes = np.stack([looks for _, _, looks in seen if looks is not None])
    unlike = (_codes(item.group for item, _, _ in seen), _codes(digest for _, digest, _ in seen))
    pairs = list(islice(near_pairs(hashes, threshold, unlike), MOST_PAIRS + 1))
    items = [item for item, _, _ in seen]
    for i, j, bits in sorted(pairs[:MOST_PAIRS], key=lambda p: (items[p[0]].split == items[p[1]].split, p[2], p)):
        one, other = items[i], items[j]
        where = f"in {one.split} and {other.split}" if one.split != other.split else "in two groups"
        labels = f", labelled {one.label} and {other.label}" if one.label != other.label else ""
        names = manifest.name(one), manifest.name(other)
        text = f"nearly the same picture {where}{labels}: {', '.join(names)} ({bits} of {BITS} bits differ)"
        yield Finding("warning", "near-duplicates", text, names)
    if len(pairs) > MOST_PAIRS:
        text = f"more than {MOST_PAIRS} pairs of pictures look nearly the same: the others were not looked for"
        yield Finding("warning", "near-duplicates", text)


def _empty_folders(manifest: Manifest) -> list[str]:
    if not manifest.origin.is_dir():
        return []
    folders = [entry.name for entry in manifest.origin.iterdir() if entry.is_dir() and entry.name[0] != "."]
    found = {item.image.relative_to(manifest.origin).parts[0] for item in manifest.items}
    return sorted(set(folders) - found)


def _codes(values: Iterable[Hashable]) -> NDArray[np.int64]:
    """Equal values as equal numbers."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
