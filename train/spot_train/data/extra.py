"""Read extra training sources: their manifests, and the class or the set of classes that each image may show."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spot_bench.data.manifest import Manifest, image_id, read_manifest, write_manifest
from spot_bench.run.directory import SOURCES
from spot_edge.errors import DataError
from spot_edge.files import make_folder
from spot_train.data.findings import counted
from spot_train.data.leaks import Divided, named_leaks, refuse
from spot_train.labels.labelset import LabelSet
from spot_train.recipes.recipe import Source

__all__ = [
    "Extra",
    "class_sets",
    "read_extras",
    "refuse_leaks",
    "repeated",
    "with_sources",
    "with_training",
    "write_sources",
]


@dataclass(frozen=True, slots=True)
class Extra:
    """A source that was read: its training images, and the indices of the classes that each may show."""

    source: Source
    path: Path
    manifest: Manifest
    allowed: tuple[tuple[int, ...], ...]  # one per image, sorted
    sha256: str  # of the manifest file; of its rows for a folder

    def counts(self, names: Sequence[str]) -> dict[str, int]:
        """Return the number of images by class, and by set of classes such as `bcc|nv`."""
        by_class = Counter("|".join(names[index] for index in allowed) for allowed in self.allowed)
        return dict(sorted(by_class.items()))

    def rows(self) -> list[list[Any]]:
        """Return what identifies the images and their classes, wherever the manifest lies."""
        manifest = self.manifest
        return [
            [manifest.name(item), item.group, *allowed]
            for item, allowed in zip(manifest.items, self.allowed, strict=True)
        ]

    def as_data(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the entry in `run.json`."""
        source = self.source
        return {
            "name": source.name,
            "manifest": self.path.name,
            "sha256": self.sha256,
            "images": len(self.allowed),
            "classes": self.counts(names),
            "weight": source.weight,
            "native": source.native,
            "pretrain_only": source.pretrain_only,
            "licence": source.licence,
            "citation": source.citation,
            "url": source.url,
        }


def read_extras(sources: Sequence[Source], paths: Mapping[str, Path], labels: LabelSet) -> tuple[Extra, ...]:
    """Read the manifests of `sources`, which `paths` names. DataError if one is missing or does not fit the classes."""
    known = {source.name for source in sources}
    for name in paths:
        if name not in known:
            listed = f"its sources are {', '.join(sorted(known))}" if known else "it has no sources"
            raise DataError(f"--source {name}: the recipe does not name this source; {listed}")
    for source in sources:
        if source.name not in paths:
            raise DataError(f"the recipe needs the source {source.name!r}: add --source {source.name}=MANIFEST")
    return tuple(_read(source, paths[source.name], labels) for source in sources)


def _read(source: Source, path: Path, labels: LabelSet) -> Extra:
    number = {label.label: index for index, label in enumerate(labels.labels)}
    for label, classes in source.classes.items():
        unknown = [name for name in classes if name not in number]
        if unknown:
            raise DataError(
                f"sources: {source.name}: {label} names the class {unknown[0]!r}, which is none of {', '.join(number)}"
            )
        if len(classes) == len(number):
            raise DataError(f"sources: {source.name}: {label} allows every class, so its images teach nothing")
    manifest = read_manifest(path)
    if manifest.splits:
        manifest = manifest.split("train")
    merged = {member: label for label, members in labels.merges.items() for member in members}
    allowed = {}
    for label in manifest.labels:
        classes = source.classes.get(label, (merged.get(label, label),))
        if any(name not in number for name in classes):
            raise DataError(f"{path}: the label {label!r} is no class. Add it to the classes of source {source.name!r}")
        allowed[label] = tuple(sorted(number[name] for name in classes))
    return Extra(source, path, manifest, tuple(allowed[item.label] for item in manifest.items), _digest(path, manifest))


def _digest(path: Path, manifest: Manifest) -> str:
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    rows = "".join(f"{manifest.name(item)},{item.label}\n" for item in manifest.items)
    return hashlib.sha256(rows.encode(errors="surrogateescape")).hexdigest()


def class_sets(extras: Sequence[Extra]) -> tuple[tuple[int, ...], ...]:
    """Return the sets of two or more classes that occur, sorted."""
    return tuple(sorted({allowed for extra in extras for allowed in extra.allowed if len(allowed) > 1}))


def refuse_leaks(manifest: Manifest, extras: Sequence[Extra]) -> None:
    """Raise DataError if a source trains on an image or a group that `manifest` holds out."""
    data = Divided.of(manifest)
    found = [
        leak
        for extra in extras
        for leak in named_leaks(Divided.of(extra.manifest, name=f"source {extra.source.name}", is_source=True), data)
    ]
    advice = "Remove these rows from the source, or rename what has the same name only by chance."
    refuse(found, f"{advice} `spot-edge data check --source` lists all leaks")


def repeated(manifest: Manifest, extras: Sequence[Extra]) -> Iterator[str]:
    """Yield a note for each source that repeats training images of `manifest`."""
    ids = {image_id(item) for item in manifest.items if item.split == "train"}
    for extra in extras:
        number = sum(image_id(item) in ids for item in extra.manifest.items)
        if number:
            yield f"note: source {extra.source.name} repeats {counted(number, 'training image')} of the data"


def write_sources(extras: Sequence[Extra], run: Path) -> None:
    """Write the image, label and group of each source's training rows into the run directory `run`.

    Conversion and the drift gate refuse these images.
    """
    for extra in extras:
        items = tuple(replace(item, split="train", attributes={}) for item in extra.manifest.items)
        make_folder(run / SOURCES)
        path = run / SOURCES / f"{extra.source.name}.csv"
        write_manifest(replace(extra.manifest, items=items), path, root=extra.manifest.folder)


def with_sources(run: dict[str, Any], extras: Sequence[Extra]) -> dict[str, Any]:
    """Return the content of `run.json` with the extra sources: their entries, and their names in `training`.

    Conversion copies `training` into the model file, so that data and licence of every source stay with the model.
    """
    if not extras:
        return run
    names = [label["label"] for label in run["labels"]]
    training = dict(run["training"])
    data = (f"{extra.source.citation or extra.source.name} ({len(extra.allowed)} images)" for extra in extras)
    training["data"] = "; ".join([*filter(None, [training["data"]]), *data])
    licences = [training["licence"], *(f"{extra.source.name}: {extra.source.licence}" for extra in extras)]
    training["licence"] = "; ".join(filter(None, licences))
    return run | {"training": training, "sources": [extra.as_data(names) for extra in extras]}


def with_training(run: dict[str, Any], others: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return the content of `run.json` with the data, licences and notices of the runs it learned from.

    `others` are their `training`. What `run` says already is not repeated: an entry of data and licence, or a sentence
    of the notice.
    """
    if not others:
        return run
    training = dict(run["training"])
    for key in ("data", "licence"):
        texts = [training[key], *(other.get(key, "") for other in others)]
        training[key] = "; ".join(dict.fromkeys(part for text in texts for part in text.split("; ") if part))
    notices = [training["notice"], *(other.get("notice", "") for other in others)]
    training["notice"] = " ".join(dict.fromkeys(part for notice in notices for part in _sentences(notice)))
    return run | {"training": training}


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text, each with its full stop."""
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        if sentence:
            yield sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."
