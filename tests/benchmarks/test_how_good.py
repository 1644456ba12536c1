"""The page "How good is it, and for whom?" counts what the embedded model says about drawn lesions."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from experiments.how_good import classify, main
from spot_bench.data.drawn import draw_lesion
from spot_bench.data.manifest import read_manifest
from spot_edge.classifier import Classifier


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn lesions of all classes in a test split, one of them too dark, with sex and age in a second file."""
    folder = tmp_path_factory.mktemp("lesions")
    for seed, (label, kind) in enumerate(2 * [("mel", "melanoma"), ("nv", "nevus"), ("bcc", "melanoma")]):
        (folder / label).mkdir(exist_ok=True)
        draw_lesion(seed, 300, 225, kind).save(folder / label / f"{label}{seed}.jpg")
    items = read_manifest(folder).items
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(items[0].image)
    with open(folder / "data.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label", "split"])
        rows.writerows([item.image.relative_to(folder), item.label, "test"] for item in items)
    with open(folder / "about.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "sex", "confirmed_by"])
        rows.writerows([item.image.name, ("female", "male")[n % 2], "histo"] for n, item in enumerate(items))
    with open(folder / "other.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "label"])
        rows.writerows(
            [item.image.relative_to(folder), "melanoma" if item.label == "mel" else "other"] for item in items
        )
    return folder


def test_images_are_classified_as_on_the_device(lesions: Path) -> None:
    classifier, manifest = Classifier.load(), read_manifest(lesions / "data.csv")
    answers = classify(classifier, "drawn", manifest)
    for item, top, category in zip(answers.items, answers.top, answers.category, strict=True):
        prediction = classifier.classify(item.image)
        assert prediction.triage is not None
        assert category == prediction.triage.category
        assert top == ("" if prediction.quality else prediction.top.label)
    assert answers.category[0] == "cannot assess"


def test_the_page_counts_every_image(lesions: Path, tmp_path: Path) -> None:
    arguments = ["--data", lesions / "data.csv", "--about", lesions / "about.csv"]
    external = ["--external", f"elsewhere={lesions / 'other.csv'}", "--out", tmp_path / "page.md"]
    done = CliRunner().invoke(main, [str(each) for each in (*arguments, *external)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.md").read_text()
    answers = classify(Classifier.load(), "drawn", read_manifest(lesions / "data.csv"))
    benign = ~np.isin(answers.truth, ["akiec", "bcc", "mel"])
    refused = int((answers.category[benign] == "cannot assess").sum())
    line = next(line for line in page.splitlines() if line.startswith("| data.csv | benign"))
    assert f"| {int(benign.sum())} images, {int(benign.sum())} lesions |" in line
    assert line.endswith(f"| {refused} of {int(benign.sum())} |")
    assert "| elsewhere | melanoma | 2 images, 2 lesions |" in page
    assert "| data.csv | sex: female |" in page
    assert "A biopsy confirms only 100 % of the benign labels" in page


def test_an_external_set_needs_a_name(lesions: Path) -> None:
    done = CliRunner().invoke(main, ["--data", str(lesions / "data.csv"), "--external", "other.csv"])
    assert done.exit_code == 2
    assert "write NAME=MANIFEST" in done.output
