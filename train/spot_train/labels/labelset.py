"""Label sets: what the classes are called, and which of them are malignant."""

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
    """The classes in the order of the network's outputs, and what the training data demand to be said with them."""

    labels: tuple[Label, ...]
    data: str = ""
    licence: str = ""
    notice: str = ""
    merges: dict[str, tuple[str, ...]] = field(default_factory=dict)  # label: the data's labels that it stands for

    def apply(self, manifest: Manifest) -> Manifest:
        """`manifest` with the data's labels replaced by those that stand for them."""
        stands = {member: label for label, members in self.merges.items() for member in members}
        if not stands:
            return manifest
        return replace(manifest, items=tuple(replace(i, label=stands.get(i.label, i.label)) for i in manifest.items))


def known_label_sets() -> list[str]:
    """The names of the label sets that ship with this room."""
    folder = resources.files("spot_train") / "labels"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_label_set(name: str) -> LabelSet:
    """The label set called `name`, or the one in the TOML file at that path."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise DataError(f"{name}: no such label set file")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{name}: cannot be read as a label set: {error}") from None
    elif name in known_label_sets():
        text = (resources.files("spot_train") / "labels" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise DataError(
            f"unknown label set {name!r}: known are {', '.join(known_label_sets())}, or a path to a .toml file"
        )
    try:
        data = tomllib.loads(text)
        entries = data.pop("label")
        merges = {entry["label"]: tuple(entry.pop("from")) for entry in entries if "from" in entry}
        labels = tuple(Label(**entry) for entry in entries)
        _check(labels)
        _check_merges(merges)
        return LabelSet(labels, **data, merges=merges)
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{name}: not a label set: {error}") from error


def _check(labels: tuple[Label, ...]) -> None:
    """ValueError for what a model file would refuse later."""
    if len({label.label for label in labels}) != len(labels) or len(labels) < 2:
        raise ValueError("it needs at least two labels, all different")
    for label in labels:
        if not all(isinstance(text, str) for text in (label.label, label.name, label.description)):
            raise ValueError(f"label {label.label!r}: label, name and description must be texts")
        if label.malignant is not None and not isinstance(label.malignant, bool):
            raise ValueError(f"label {label.label!r}: malignant must be true or false, or left out")


def _check_merges(merges: dict[str, tuple[str, ...]]) -> None:
    members = [member for group in merges.values() for member in group]
    if not all(isinstance(member, str) for member in members) or len(set(members)) != len(members):
        raise ValueError("from must list labels of the data, each of them once")


def plain_label_set(labels: Sequence[str]) -> LabelSet:
    """A label set for data that bring only class names: nothing is known about malignancy."""
    return LabelSet(tuple(Label(label, label.replace("_", " ")) for label in labels))
