"""Splits of published studies."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from experiments.protocols import PROTOCOLS
from spot_bench.data.manifest import Manifest, read_manifest


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """400 lesions of two labels; every fourth has three images."""
    rows = ["image,label,lesion_id,site"]
    for lesion in range(400):
        for image in range(3 if lesion % 4 == 0 else 1):
            name = f"{lesion}-{image}.jpg"
            (tmp_path / name).touch()
            rows.append(f"{name},{'mel' if lesion % 5 == 0 else 'nv'},L{lesion},back")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(rows))
    return path


def split_by(protocol: str, labels: Path, *options: str) -> Manifest:
    out = labels.with_name(f"{protocol}.csv")
    command = [sys.executable, "-m", "experiments.protocols", protocol, labels, "--out", out, *options]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: train ")
    manifest = read_manifest(out)
    assert len(manifest.items) == 600
    assert manifest.splits == ("train", "val")
    assert all(item.attributes == {"site": "back"} for item in manifest.items)
    return manifest


def test_single_image_lesions_validates_on_no_other_lesions(labels: Path) -> None:
    manifest = split_by("single-image-lesions", labels)
    images = Counter(item.group for item in manifest.items)
    val = manifest.split("val").items
    assert all(images[item.group] == 1 for item in val)
    assert Counter(item.label for item in val) == {"mel": 10, "nv": 41}  # 17 % of 60 and of 240


def test_by_lesion_validates_on_as_many_images_of_whole_lesions(labels: Path) -> None:
    manifest = split_by("by-lesion", labels)
    val = manifest.split("val").items
    assert abs(len(val) - 51) <= 4
    assert max(Counter(item.group for item in val).values()) == 3


def test_by_image_lets_lesions_cross_the_split(labels: Path) -> None:
    manifest = split_by("by-image", labels)
    splits = {item.image.name.split("-")[0]: set() for item in manifest.items}
    for item in manifest.items:
        splits[item.image.name.split("-")[0]].add(item.split)
    assert any(len(names) == 2 for names in splits.values())


@pytest.mark.parametrize("protocol", ["by-lesion", "by-image"])
def test_the_same_seed_gives_the_same_split(protocol: str, labels: Path) -> None:
    manifest = read_manifest(labels)
    first, again, other = (PROTOCOLS[protocol](manifest, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_invalid_input_ends_with_one_line(labels: Path) -> None:
    command = [sys.executable, "-m", "experiments.protocols", "by-lesion", str(labels), "--out"]
    for options, message, code in (
        ([str(labels)], "already exists", 6),
        ([str(labels.with_name("new.csv")), "--group", "patient"], "has no 'patient'", 7),
        ([str(labels.with_name("new.csv")), "--group", "site"], "no lesion has a single image", 7),
    ):
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.returncode == code
