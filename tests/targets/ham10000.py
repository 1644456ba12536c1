"""The images of HAM10000 that checks in other environments look at."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


def first_images(number: int) -> Iterator[bytes]:
    """The first images of the frozen split's val part, by name, as files; the test is skipped where there are none."""
    if not (DATA / "ham10000-split.csv").is_file():
        pytest.skip("NOT RUN: HAM10000 is not at ../shared/data: nothing was checked against real images")
    with open(DATA / "ham10000-split.csv", newline="") as file:
        wanted = sorted(row["image"] for row in csv.DictReader(file) if row["split"] == "val")[:number]
    for path in sorted(DATA.glob("ham10000-images-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name in wanted and (content := tar.extractfile(member)) is not None:
                    yield content.read()
