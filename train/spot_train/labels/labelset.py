"""Label sets: the names of the classes, and which of them are malignant."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from spot_bench.data.manifest import Manifest
from spot_edge.errors import DataError
from spot_edge.model.spec import Label

__all__ = ["LabelSet", "known_label_sets", "load_label_set", "plain_label_set"]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """The classes in the order of the network's outputs, with source, licence and notice of the training data."""

    labels: tuple[Label, ...]
    data: str = ""
    licence: str = ""
    notice: str = ""
    merges: dict[str, tuple[str, ...]] = field(default_factory=dict)  # label: the data's labels that it replaces

    def apply(self, manifest: Manifest) -> Manifest:
        """Return `manifest` with the data's labels merged into those of this set."""
        merged = {member: label for label, members in self.merges.items() for member in members}
        if not merged:
            return manifest
        return replace(manifest, items=tuple(replace(i, label=merged.get(i.label, i.label)) for i in manifest.items))


def known_label_sets() -> list[str]:
    """Return the names of the included label sets."""
    folder = resources.files("spot_train") / "labels"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_label_set(name: str) -> LabelSet:
    """Load the label set `name`, or the TOML file at that path."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise DataError(f"{name}: no such label set file")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{name}: cannot read the label set: {error}") from None
    elif name in known_label_sets():
        text = (resources.files("spot_train") / "labels" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise DataError(f"unknown label set {name!r}. Name a .toml file or one of {', '.join(known_label_sets())}")
    try:
        data = tomllib.loads(text)
        entries = data.pop("label")
        merges = {entry["label"]: tuple(entry.pop("from")) for entry in entries if "from" in entry}
        labels = tuple(Label(**entry) for entry in entries)
        _check(labels)
        _check_merges(merges)
        return LabelSet(labels, **data, merges=merges)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: invalid label set: {error}") from error


def _check(labels: tuple[Label, ...]) -> None:
    """Raise ValueError for labels that the model file would refuse later."""
    if len({label.label for label in labels}) != len(labels) or len(labels) < 2:
        raise ValueError("it needs at least two labels, all different")
    for label in labels:
        if not all(isinstance(text, str) for text in (label.label, label.name, label.description)):
            raise ValueError(f"label {label.label!r}: label, name and description must be strings")
        if label.malignant is not None and not isinstance(label.malignant, bool):
            raise ValueError(f"label {label.label!r}: malignant must be true, false or absent")


def _check_merges(merges: dict[str, tuple[str, ...]]) -> None:
    members = [member for group in merges.values() for member in group]
    if not all(isinstance(member, str) for member in members) or len(set(members)) != len(members):
        raise ValueError("from must list labels of the data, each only once")


def plain_label_set(labels: Sequence[str]) -> LabelSet:
    """Return a label set for data with class names only. It marks no class as malignant or benign."""
    return LabelSet(tuple(Label(label, label.replace("_", " ")) for label in labels))
