"""Splits are reproducible, keep the labels' fractions, and never divide a group."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from spot_bench.data.manifest import SPLITS, Item, Manifest
from spot_bench.data.splits import FRACTIONS, split
from spot_edge.errors import DataError


def data_set(lesions: dict[str, int], seed: int = 0) -> Manifest:
    """Make this many lesions of each label, each with one to four images."""
    chance = random.Random(seed)
    items = [
        Item(Path(f"{label}-{lesion}-{image}.jpg"), label, f"{label}-{lesion}")
        for label, count in lesions.items()
        for lesion in range(count)
        for image in range(chance.choice((1, 1, 2, 4)))
    ]
    return Manifest(tuple(items), Path("data.csv"))


def homes(manifest: Manifest) -> dict[str, str | None]:
    return {str(item.image): item.split for item in manifest.items}


def test_order_of_items_does_not_matter() -> None:
    manifest = data_set({"nv": 200, "mel": 40})
    shuffled = list(manifest.items)
    random.Random(1).shuffle(shuffled)
    assert homes(split(manifest)) == homes(split(replace(manifest, items=tuple(shuffled))))


def test_split_is_pinned() -> None:
    """Hard-coded, so that a change of Python, hash seed or code cannot move an image unnoticed."""
    items = tuple(Item(Path(f"{n}.jpg"), "nv", f"lesion-{n}") for n in range(8))
    found = [item.split for item in split(Manifest(items, Path("data.csv"))).items]
    assert found == ["train", "test", "test", "train", "val", "train", "train", "train"]


def test_seed_changes_the_split_and_old_splits_are_discarded() -> None:
    manifest = data_set({"nv": 100})
    assert homes(split(manifest, seed=1)) != homes(split(manifest))
    assert homes(split(split(manifest, seed=1))) == homes(split(manifest))


def test_groups_never_cross() -> None:
    splits = defaultdict(set)
    for item in split(data_set({"nv": 300, "mel": 60, "df": 7})).items:
        splits[item.group].add(item.split)
    assert all(len(found) == 1 for found in splits.values())


def test_every_label_has_its_fractions() -> None:
    found = split(data_set({"nv": 1000, "mel": 200}))
    counts = Counter((item.label, item.split) for item in found.items)
    for label in ("nv", "mel"):
        total = sum(counts[label, name] for name in SPLITS)
        for name, fraction in FRACTIONS.items():
            assert abs(counts[label, name] - fraction * total) <= 4


@pytest.mark.parametrize("lesions", [2, 3, 4, 10])
def test_small_classes_are_in_training_and_validation(lesions: int) -> None:
    found = split(data_set({"nv": 300, "df": lesions}))
    assert {"train", "val"} <= {item.split for item in found.items if item.label == "df"}


def test_a_single_group_goes_to_training() -> None:
    assert {item.split for item in split(data_set({"nv": 1})).items} == {"train"}


def test_groups_with_several_labels_stay_together() -> None:
    items = tuple(Item(Path(f"{n}.jpg"), label, "patient") for n, label in enumerate(("nv", "mel", "nv")))
    found = split(Manifest(items, Path("data.csv")))
    assert {item.split for item in found.items} == {"train"}


def test_splits_without_a_fraction_stay_empty() -> None:
    found = split(data_set({"nv": 50}), {"train": 0.5, "test": 0.5})
    assert found.splits == ("train", "test")


@pytest.mark.parametrize(
    ("fractions", "complaint"),
    [
        ({"train": 0.5, "test": 0.4}, "add up to 1"),
        ({"train": 1.5, "test": -0.5}, "from 0 to 1"),
        ({"train": 0.5, "dev": 0.5}, "unknown split 'dev'"),
    ],
)
def test_bad_fractions_are_refused(fractions: dict[str, float], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        split(data_set({"nv": 3}), fractions)
