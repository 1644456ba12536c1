"""Write the page "How good is it, and for whom?" for a clinician: `python -m experiments.how_good`.

The model classifies the test split of its data set and external data sets as the device does, image quality checks
included. The page counts what happens to malignant and benign lesions, by class and by group of patients, beside
published figures of dermatologists and other models.
"""

from __future__ import annotations

import csv
import datetime
import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest, image_id, read_manifest
from spot_bench.drift.subgroups import ordered, stated_values
from spot_bench.report.tables import markdown
from spot_bench.run.progress import progress_bar
from spot_bench.stats.intervals import Estimate, proportion
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError, InputError, SpotError, first_line, one_line
from spot_edge.files import write_file
from spot_edge.prediction.prediction import Category

MELANOMA = "mel"
POSITIVE = "melanoma"  # the label of melanomas in a data set that does not use the model's classes
URGENT: tuple[Category, ...] = ("review now", "review soon")
CATEGORIES: tuple[Category, ...] = (*URGENT, "routine", "cannot assess")
WIDTH = 100  # of the printed command
FEWEST = 30  # lesions for a percentage; below, only the count is printed

# Published figures. Each is quoted from the abstract of the paper.
PUBLISHED = (
    (
        "58 dermatologists, one image each",
        "melanoma or nevus, 100 images",
        "86.6 %",
        "71.3 %",
        "Haenssle et al., Ann. Oncol. 29:1836 (2018)",
    ),
    (
        "the same, with clinical data and close-ups",
        "the same 100 lesions",
        "88.9 %",
        "75.7 %",
        "Haenssle et al. (2018)",
    ),
    (
        "a large network (Inception-v4), at the dermatologists' first sensitivity",
        "the same 100 images",
        "86.6 %",
        "82.5 %",
        "Haenssle et al. (2018)",
    ),
    (
        "dermatologists, 92 studies",
        "melanoma against other pigmented lesions, biopsied",
        "87.5 %",
        "81.4 %",
        "meta-analysis in Phillips et al., Dermatol. Pract. Concept. 10:e2020011 (2020)",
    ),
    (
        "primary care doctors, 10 studies",
        "the same",
        "79.9 %",
        "70.9 %",
        "the same meta-analysis",
    ),
    (
        "DERM, a commercial ensemble of networks",
        "melanoma against benign, biopsied",
        "95 %",
        "64.1 %",
        "Phillips et al. (2020)",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """What the device predicts for each image of one data set."""

    name: str
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    top: NDArray[np.str_]  # the top class; empty for an image that fails the quality check
    category: NDArray[np.str_]
    held: NDArray[np.bool_]  # whether the prediction set holds the true class; false if it fails the quality check
    skipped: int  # images that could not be read or classified

    @property
    def groups(self) -> NDArray[np.str_]:
        """The lesion of each image."""
        return np.array([item.group for item in self.items])

    @property
    def truth(self) -> NDArray[np.str_]:
        """The label of each image."""
        return np.array([item.label for item in self.items])

    @property
    def positive(self) -> str:
        """The label of melanomas."""
        return _positive(self.truth.tolist())


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
    return "\n".join(page_lines(classifier, classified, command, is_ham=is_ham))


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
        if _positive(truth) not in truth:
            raise DataError(f"{name}: no image is labelled {POSITIVE} or {MELANOMA}")


def _positive(labels: Collection[str]) -> str:
    """Return the label of melanomas in a data set with these labels."""
    return POSITIVE if POSITIVE in labels else MELANOMA


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


def classify(classifier: Classifier, name: str, manifest: Manifest) -> Classified:
    """Classify every image as the device does. DataError if no image could be classified."""
    kept, top, category, held, skipped = [], [], [], [], 0
    with progress_bar(name, len(manifest.items)) as step:
        for item in manifest.items:
            try:
                prediction = classifier.classify(item.image)
            except InputError:
                skipped += 1
            else:
                kept.append(item)
                top.append("" if prediction.quality else prediction.top.label)
                category.append(prediction.triage.category if prediction.triage else "")
                possible = prediction.prediction_set.labels if prediction.prediction_set else ()
                held.append(not prediction.quality and item.label in possible)
            step(1)
    if not kept:
        raise DataError(f"{name}: none of {skipped} images could be classified")
    labels = tuple(label.label for label in classifier.model.spec.labels)
    return Classified(name, labels, tuple(kept), np.array(top), np.array(category), np.array(held), skipped)


def page_lines(
    classifier: Classifier, classified: Sequence[Classified], command: Sequence[str], *, is_ham: bool
) -> Iterator[str]:
    """Yield the page's lines. `command` is what wrote it; `is_ham` tells if the first data set is HAM10000."""
    own, *others = classified
    spec = classifier.model.spec
    malignant = [label.label for label in spec.labels if label.malignant]
    names = {label.label: label.name for label in spec.labels}
    yield "# How good is it, and for whom?"
    yield ""
    yield from _summary(own, malignant, is_ham=is_ham)
    yield ""
    yield (
        f"Model: {spec.name} {spec.variant}, id `{classifier.model.id[:16]}…`, in {classifier.runtime.name} "
        f"{classifier.runtime.version}, {datetime.date.today()}. Percentages have 95 % intervals over lesions; below "
        f"{FEWEST} lesions only counts are given. This page is the output of:"
    )
    yield ""
    yield from command
    yield ""
    yield "## How urgent does it call malignant and benign lesions?"
    yield ""
    rows = []
    for each in classified:
        for title, rows_of in _kinds(each, malignant):
            rows.append([each.name, title, *_triage_cells(each, rows_of)])
    yield markdown(["images", "lesions", "number", *CATEGORIES], rows, words=2)
    yield ""
    yield (
        '"Review now" and "review soon" together are what a clinician is asked to look at. "Cannot assess" means '
        "that the image quality check asks for a better picture."
    )
    yield ""
    listed = "; ".join(f"{each.skipped} of {each.name}" for each in classified)
    yield f"Images that could not be classified and are not counted: {listed}."
    yield ""
    yield "## Does it name the right kind of lesion?"
    yield ""
    yield (
        f"{own.name}. Sensitivity: how often images of this class have it as the top class. Specificity: how often "
        "images of other classes do not. The last column says how often the prediction set, the list of classes that "
        "the lesion may be, holds the true class. An image that cannot be assessed counts as neither named nor held."
    )
    yield ""
    heads = ["class", "", "lesions", "sensitivity", "specificity", "prediction set holds it"]
    yield markdown(heads, [_class_row(own, label, names[label]) for label in own.labels], words=2)
    yield ""
    missed = Counter(own.top[(own.truth == MELANOMA) & (own.top != MELANOMA)].tolist())
    if missed:
        listed = ", ".join(f"{names.get(label, 'not assessed')} ({count})" for label, count in missed.most_common())
        yield f"Melanoma images with another top class: {listed}."
        yield ""
    for each in others:
        rows_of = each.truth == each.positive
        named = _share(each.top[rows_of] == MELANOMA, each.groups[rows_of])
        other = _share(each.top[~rows_of] != MELANOMA, each.groups[~rows_of])
        yield f"{each.name}: melanoma is the top class in {named} of the melanomas, and another in {other} of the rest."
        yield ""
    yield "## For whom?"
    yield ""
    yield (
        "The share of images of malignant lesions that it calls urgent (review now or soon), and of images of benign "
        "lesions that it does not, by group of patients."
    )
    yield ""
    rows = [row for each in classified for row in _group_rows(each, malignant)]
    heads = ["images", "patients", "malignant lesions", "called urgent", "benign lesions", "not called urgent"]
    yield markdown(heads, rows, words=2)
    yield ""
    yield from _beside(own, malignant)


def _summary(own: Classified, malignant: Sequence[str], *, is_ham: bool) -> Iterator[str]:
    """Yield the page's point in a few sentences."""
    melanoma, benign = own.truth == MELANOMA, ~np.isin(own.truth, malignant)
    now, soon, routine = (_of_100(own.category[melanoma] == name) for name in (*URGENT, "routine"))
    first = _of_100(own.top[melanoma] == MELANOMA)
    alarms = _of_100(np.isin(own.category, URGENT)[benign])
    known = "It knows dermatoscope images of mostly fair skin from two clinics, and was" if is_ham else "It was"
    yield (
        f'Of 100 melanoma images, the model calls {now} "review now", {soon} "review soon" and {routine} "routine", '
        f"and names melanoma first in {first}. Of 100 images of benign lesions, it calls {alarms} urgent. {known} "
        "not tested on patients in a practice. "
        '"Routine" is no all-clear.'
    )


def _of_100(hits: NDArray[np.bool_]) -> int:
    return round(100 * float(hits.mean()))


def _kinds(each: Classified, malignant: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the kinds of lesions that a data set tells apart, and their rows."""
    melanoma = each.truth == each.positive
    if not np.isin(each.truth, each.labels).all():
        return [("melanoma", melanoma), ("all others", ~melanoma)]
    sick = np.isin(each.truth, malignant)
    return [("melanoma", melanoma), ("all malignant", sick), ("benign", ~sick)]


def _triage_cells(each: Classified, rows: NDArray[np.bool_]) -> list[str]:
    groups = each.groups[rows]
    number = f"{int(rows.sum())} images, {len(np.unique(groups))} lesions"
    return [number, *(_share(each.category[rows] == category, groups) for category in CATEGORIES)]


def _class_row(own: Classified, label: str, name: str) -> list[str]:
    rows, groups = own.truth == label, own.groups
    return [
        label,
        name.partition(":")[0],
        str(len(np.unique(groups[rows]))),
        _share(own.top[rows] == label, groups[rows]),
        _share(own.top[~rows] != label, groups[~rows]),
        _share(own.held[rows], groups[rows]),
    ]


def _group_rows(each: Classified, malignant: Sequence[str]) -> Iterator[list[str]]:
    sick = np.isin(each.truth, [*malignant, each.positive])
    urgent = np.isin(each.category, URGENT)
    for attribute, values in stated_values(each.items).items():
        for value in ordered(attribute, values, each.groups):
            rows = values == value
            ill, well = rows & sick, rows & ~sick
            yield [
                each.name,
                f"{attribute.replace('_', ' ')}: {value or 'not stated'}",
                str(len(np.unique(each.groups[ill]))),
                _share(urgent[ill], each.groups[ill]),
                str(len(np.unique(each.groups[well]))),
                _share(~urgent[well], each.groups[well]),
            ]


def _share(hits: NDArray[np.bool_], groups: NDArray[np.str_]) -> str:
    """Format a share with its interval, or only the count if there are few lesions."""
    lesions = len(np.unique(groups))
    if lesions < FEWEST:
        return f"{int(hits.sum())} of {len(hits)}"
    found: Estimate = proportion(hits, groups)
    return f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


def _beside(own: Classified, malignant: Sequence[str]) -> Iterator[str]:
    """Yield the published figures and their caveats."""
    yield "## Beside dermatologists and other models"
    yield ""
    heads = ["who", "on what", "sensitivity", "specificity", "source"]
    yield markdown(heads, [list(row) for row in PUBLISHED], words=5)
    yield ""
    yield (
        "On all seven classes of this model, 511 readers got 17.9 of 30 images right on average, 27 experts with over "
        "ten years of experience 18.8, and the three best of 139 algorithms 25.4 (Tschandl et al., Lancet Oncol. "
        "20:938, 2019; test images of the ISIC 2018 challenge). On images from clinics that had given no training "
        "images, the algorithms' lead over the experts shrank from 11.4 to 3.6 percentage points."
    )
    yield ""
    yield "Do not read these lines as a contest:"
    yield ""
    yield "- The image sets differ. Difficult, biopsied lesions lower every figure, and many plain nevi raise them."
    yield "- A reader study shows one image on a screen. In a practice, doctors see the patient, touch and compare."
    yield "- Sensitivity and specificity trade against each other. Compare pairs, not single numbers."
    confirmed = [item.attributes.get("confirmed_by") for item in own.items if item.label not in malignant]
    if any(confirmed):
        share = round(100 * confirmed.count("histo") / len(confirmed))
        yield (
            f"- A biopsy confirms only {share} % of the benign labels of {own.name}. The others were followed up, "
            "or experts agreed on them: these are the easier ones."
        )
    yield ""
    yield "## What nobody knows yet"
    yield ""
    yield "- How it does on dark skin: no data set here states the skin tone of enough lesions."
    yield "- How it does with your dermatoscope: lenses, light and gels differ from those of the training images."
    yield "- How it does on lesions outside its classes: invasive squamous cell carcinoma, Merkel cell carcinoma,"
    yield "  inflammation, nails, mucosa, non-pigmented melanoma. It calls them one of its classes."
    yield "- Whether patients fare better when a doctor uses it. Only a trial could tell."


if __name__ == "__main__":
    main()
