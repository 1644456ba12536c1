"""The images that the checks of other runtimes use: drawn lesions, and HAM10000 where it is available."""

from __future__ import annotations

import csv
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from spot_bench.data.drawn import KINDS, draw_lesion

DATA = Path(__file__).parents[3] / "shared" / "data"


def drawn_lesions(number: int) -> Iterator[Image.Image]:
    """The same drawn lesions at every call, of all kinds in turn."""
    for seed in range(number):
        yield draw_lesion(seed, 320, 240, KINDS[seed % len(KINDS)])


def first_images(number: int) -> Iterator[bytes]:
    """The first files, by name, of the frozen split's validation images. Skips the test if HAM10000 is missing."""
    if not (DATA / "ham10000-split.csv").is_file():
        pytest.skip("NOT RUN: HAM10000 is not at ../shared/data, so nothing was checked against real images")
    with open(DATA / "ham10000-split.csv", newline="") as file:
        wanted = sorted(row["image"] for row in csv.DictReader(file) if row["split"] == "val")[:number]
    for path in sorted(DATA.glob("ham10000-images-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name in wanted and (content := tar.extractfile(member)) is not None:
                    yield content.read()
