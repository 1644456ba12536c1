"""The page "How good is it, and for whom?" counts what the embedded model says about drawn lesions."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from experiments.how_good.__main__ import main
from experiments.how_good.classified import classify
from spot_bench.data.drawn import draw_lesion
from spot_bench.data.manifest import read_manifest
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError


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
    found = classify(classifier, "drawn", manifest)
    for item, top, category in zip(found.items, found.top, found.category, strict=True):
        prediction = classifier.classify(item.image)
        assert prediction.triage is not None
        assert category == prediction.triage.category
        assert top == ("" if prediction.quality else prediction.top.label)
    assert found.category[0] == "cannot assess"


def test_an_image_that_fails_the_quality_check_is_not_held(lesions: Path) -> None:
    classifier, manifest = Classifier.load(), read_manifest(lesions / "data.csv")
    dark, *_, good = manifest.items
    items = []
    for item in (dark, good):
        prediction = classifier.classify(item.image)
        assert prediction.prediction_set is not None
        items.append(replace(item, label=prediction.prediction_set.labels[0]))
    found = classify(classifier, "drawn", replace(manifest, items=tuple(items)))
    columns = [found.labels.index(item.label) for item in items]
    assert found.possible[[0, 1], columns].tolist() == [False, True]
    assert not found.possible[0].any()


def test_the_page_counts_every_image(lesions: Path, tmp_path: Path) -> None:
    arguments = ["--data", lesions / "data.csv", "--about", lesions / "about.csv"]
    external = ["--external", f"elsewhere={lesions / 'other.csv'}", "--out", tmp_path / "page.md"]
    done = CliRunner().invoke(main, [str(each) for each in (*arguments, *external)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.md").read_text()
    found = classify(Classifier.load(), "drawn", read_manifest(lesions / "data.csv"))
    benign = ~np.isin(found.truth, ["akiec", "bcc", "mel"])
    refused = int((found.category[benign] == "cannot assess").sum())
    line = next(line for line in page.splitlines() if line.startswith("| data.csv | benign"))
    assert f"| {int(benign.sum())} images |" in line
    assert line.endswith(f"| {refused} of {int(benign.sum())} |")
    assert "| elsewhere | melanoma | 2 images |" in page
    assert "| data.csv | sex: female |" in page
    assert "Histology confirms only 100 % of the images of benign lesions" in page
    command = page[page.index("    python -m") : page.index("## How urgent")].replace("\\\n", " ")
    assert shlex.split(command)[3:] == [str(each) for each in (*arguments, *external)]
    assert "and are not counted: 0 of data.csv; 0 of elsewhere." in page
    assert "fair skin" not in page


@pytest.fixture
def listed(lesions: Path) -> Callable[..., Path]:
    """Return a function that writes a manifest of the drawn lesions with other labels."""

    def write(name: str, more: str = "", **labels: str) -> Path:
        items = [item for item in read_manifest(lesions / "data.csv").items if item.label in labels]
        rows = [f"{item.image.relative_to(lesions)},{labels[item.label]},test\n" for item in items]
        (lesions / name).write_text("image,label,split\n" + "".join(rows) + more)
        return lesions / name

    return write


def test_external_sets_may_use_the_labels_of_the_model(lesions: Path, listed: Callable[..., Path]) -> None:
    (lesions / "broken.jpg").write_bytes(b"no image")
    own = listed("ham10000-drawn.csv", mel="mel", nv="nv")
    other = listed("isic.csv", "broken.jpg,bkl,test\n", mel="mel", nv="nv", bcc="bkl")
    done = CliRunner().invoke(main, ["--data", str(own), "--external", f"ISIC 2017={other}"])
    assert done.exit_code == 0, done.output
    found = classify(Classifier.load(), "drawn", read_manifest(other))
    sick = found.truth == "mel"
    named, rest = int((found.top[sick] == "mel").sum()), int((found.top[~sick] == "mel").sum())
    assert f"melanoma is the top class in {named} of 2 of the melanomas and in {rest} of 4 of" in done.stdout
    assert "| ISIC 2017 | melanoma | 2 images |" in done.stdout
    assert "| ISIC 2017 | benign | 4 images |" in done.stdout
    assert "not counted: 0 of HAM10000, test split; 1 of ISIC 2017." in done.stdout
    assert "Most images show fair skin." in done.stdout


def test_data_that_the_page_cannot_be_made_of_are_refused_in_one_line(
    lesions: Path, tmp_path: Path, listed: Callable[..., Path]
) -> None:
    for name in ("broken.jpg", "broken2.jpg"):
        (lesions / name).write_bytes(b"no image")
    good, no_image = listed("good.csv", mel="mel", nv="nv"), tmp_path / "about.csv"
    no_image.write_text("name,sex\na,male\n")
    broken = "broken.jpg,{},test\n"
    for arguments, reason in (
        ((listed("a.csv", nv="nv"),), "a.csv: no image is labelled mel"),
        ((listed("b.csv", mel="mel"),), "b.csv: no image has the label of a benign class"),
        ((listed("c.csv", mel="mel", nv="other"),), "c.csv: the label 'other' is no class of the model"),
        ((listed("d.csv", broken.format("mel"), nv="nv"),), "d.csv: no image is labelled mel"),
        (
            (listed("e.csv", broken.format("mel") + "broken2.jpg,nv,test\n"),),
            "e.csv: none of 2 images could be classified",
        ),
        ((good, "--external", f"far={listed('f.csv', nv='nv')}"), "far: no image is labelled melanoma or mel"),
        ((good, "--external", f"far={listed('g.csv', broken.format('mel'))}"), "far: none of 1 images could be"),
        ((good, "--about", no_image), f"{no_image}: has no column image"),
        ((good, "--about", tmp_path), f"{tmp_path}: cannot read: "),
        ((tmp_path / "none.csv",), "none.csv"),
    ):
        done = CliRunner().invoke(main, ["--data", *map(str, arguments)])
        assert done.exit_code == DataError.exit_code, done.output
        assert isinstance(done.exception, SystemExit), done.exception
        (line,) = done.stderr.splitlines()
        assert line.startswith("experiments.how_good: ")
        assert reason in line


def test_an_external_set_needs_a_name(lesions: Path) -> None:
    done = CliRunner().invoke(main, ["--data", str(lesions / "data.csv"), "--external", "other.csv"])
    assert done.exit_code == 2
    assert "write NAME=MANIFEST" in done.output
