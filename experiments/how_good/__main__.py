"""Write the page "How good is it, and for whom?" for a clinician: `python -m experiments.how_good`.

The model classifies the test split of its data set and external data sets as the device does, image quality checks
included. The page counts what happens to malignant and benign lesions, by class and by group of patients, beside
published figures of dermatologists and other models.
"""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from experiments.how_good.classified import MELANOMA, POSITIVE, Classified, classify, positive_label
from experiments.how_good.page import render_page
from spot_bench.data.manifest import Manifest, image_id, read_manifest
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, SpotError, first_line, one_line
from spot_edge.files import write_file

WIDTH = 100  # of the printed command


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="Model file [default: the embedded model].")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CSV manifest with a test split.")
@click.option("--about", type=click.Path(path_type=Path), help="CSV with age, sex or site of the images.")
@click.option(
    "--external",
    multiple=True,
    metavar="NAME=MANIFEST",
    help=f"Data set of another origin. Its melanomas are labelled {POSITIVE} or {MELANOMA}. Repeatable.",
)
@click.option("--split", default="all", show_default=True, help="Split of the external data sets.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write [default: standard output].")
def main(
    model: Path | None, data: Path, about: Path | None, external: tuple[str, ...], split: str, out: Path | None
) -> None:
    """Write the page "How good is it, and for whom?"."""
    others = []
    for text in external:
        name, equals, path = text.partition("=")
        if not equals:
            raise click.UsageError(f"--external {text}: write NAME=MANIFEST")
        others.append((name, Path(path)))
    options = [("model", model), ("data", data), ("about", about), *(("external", text) for text in external)]
    options += [("split", split if split != "all" else None), ("out", out)]
    try:
        page = _page(model, data, about, others, split, _command(options))
        if out is None:
            click.echo(page, nl=False)
        else:
            write_file(out, page.encode())
    except SpotError as error:
        click.echo(f"experiments.how_good: {one_line(str(error))}", err=True)
        raise SystemExit(error.exit_code) from None


def _command(options: Sequence[tuple[str, object]]) -> list[str]:
    """Return the lines of the command with these options, without those that are None."""
    lines = ["    python -m experiments.how_good"]
    for name, value in options:
        if value is None:
            continue
        option = f"--{name} {shlex.quote(str(value))}"
        if len(lines[-1]) + len(option) > WIDTH:
            lines[-1] += " \\"
            lines.append(f"          {option}")
        else:
            lines[-1] += f" {option}"
    return lines


def _page(
    model: Path | None,
    data: Path,
    about: Path | None,
    external: Sequence[tuple[str, Path]],
    split: str,
    command: Sequence[str],
) -> str:
    classifier = Classifier.load(model)
    is_ham = data.name.lower().startswith("ham10000")
    own = _described(read_manifest(data).split("test"), about)
    sets = [("HAM10000, test split" if is_ham else data.name, own)]
    for name, path in external:
        manifest = read_manifest(path)
        sets.append((name, manifest if split == "all" else manifest.split(split)))
    _check_classes(classifier, sets)  # first, because classifying takes long
    classified = [classify(classifier, name, manifest) for name, manifest in sets]
    _check_classes(classifier, [(each.name, each) for each in classified])  # images may have been skipped
    return render_page(classifier, classified, command, is_ham=is_ham)


def _check_classes(classifier: Classifier, sets: Sequence[tuple[str, Manifest | Classified]]) -> None:
    """Raise DataError if the model, or the first or another data set, lacks a class that the page needs."""
    labels = classifier.model.spec.labels
    malignant = [label.label for label in labels if label.malignant]
    if MELANOMA not in malignant:
        raise DataError(f"{classifier.model.name}: the page needs a model with the malignant class {MELANOMA}")
    (name, own), *others = sets
    truth = {item.label for item in own.items}
    if MELANOMA not in truth:
        raise DataError(f"{name}: no image is labelled {MELANOMA}")
    unknown = sorted(truth - {label.label for label in labels})
    if unknown:
        raise DataError(f"{name}: the label {unknown[0]!r} is no class of the model")
    if truth <= set(malignant):
        raise DataError(f"{name}: no image has the label of a benign class")
    for name, other in others:
        truth = {item.label for item in other.items}
        if positive_label(truth) not in truth:
            raise DataError(f"{name}: no image is labelled {POSITIVE} or {MELANOMA}")


def _described(manifest: Manifest, about: Path | None) -> Manifest:
    """Add the columns of the file `about` to the items with the same image."""
    if about is None:
        return manifest
    try:
        with open(about, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "image" not in (reader.fieldnames or ()):
                raise DataError(f"{about}: has no column image")
            stated = [{key: text for key, text in row.items() if key and text} for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{about}: cannot read: {getattr(error, 'strerror', None) or first_line(error)}") from error
    rows = {Path(row["image"]).stem.lower(): row for row in stated if "image" in row}
    items = [replace(item, attributes=item.attributes | rows.get(image_id(item), {})) for item in manifest.items]
    return replace(manifest, items=tuple(items))


if __name__ == "__main__":
    main()
