"""Write the page "How good is it, and for whom?" for a clinician: `python -m experiments.how_good`.

The model classifies the test split of its data set and external data sets as the device does, image quality checks
included. The page counts what happens to malignant and benign lesions, by class and by group of patients, beside
published figures of dermatologists and other models.
"""

from __future__ import annotations

import csv
import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
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
from spot_edge.errors import DataError, InputError
from spot_edge.files import write_file
from spot_edge.prediction.prediction import Category

MELANOMA = "mel"
POSITIVE = "melanoma"  # the label of melanomas in a data set that does not use the model's classes
URGENT: tuple[Category, ...] = ("review now", "review soon")
CATEGORIES: tuple[Category, ...] = (*URGENT, "routine", "cannot assess")
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
class Answers:
    """What the device said about each image of one data set."""

    name: str
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    top: NDArray[np.str_]  # the top class; empty for an image that fails the quality check
    category: NDArray[np.str_]
    held: NDArray[np.bool_]  # whether the prediction set holds the true class
    skipped: int

    @property
    def groups(self) -> NDArray[np.str_]:
        """The lesion of each image."""
        return np.array([item.group for item in self.items])

    @property
    def truth(self) -> NDArray[np.str_]:
        """The label of each image."""
        return np.array([item.label for item in self.items])


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="Model file [default: the embedded model].")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CSV manifest with a test split.")
@click.option("--about", type=click.Path(path_type=Path), help="CSV with age, sex or site of the images.")
@click.option(
    "--external",
    multiple=True,
    metavar="NAME=MANIFEST",
    help=f"Data set of another origin, with the labels {POSITIVE} and others. Repeatable.",
)
@click.option("--split", default="all", show_default=True, help="Split of the external data sets.")
@click.option("--out", type=click.Path(path_type=Path), help="File to write [default: standard output].")
def main(
    model: Path | None, data: Path, about: Path | None, external: tuple[str, ...], split: str, out: Path | None
) -> None:
    """Write the page "How good is it, and for whom?"."""
    classifier = Classifier.load(model)
    own = read_manifest(data).split("test")
    sets = [("HAM10000, test split" if "ham" in data.name.lower() else data.name, _described(own, about))]
    for text in external:
        name, equals, path = text.partition("=")
        if not equals:
            raise click.UsageError(f"--external {text}: write NAME=MANIFEST")
        manifest = read_manifest(Path(path))
        sets.append((name, manifest if split == "all" else manifest.split(split)))
    answers = [classify(classifier, name, manifest) for name, manifest in sets]
    page = "\n".join(page_lines(classifier, answers))
    if out is None:
        click.echo(page, nl=False)
    else:
        write_file(out, page.encode())


def _described(manifest: Manifest, about: Path | None) -> Manifest:
    """Add the columns of the file `about` to the items with the same image."""
    if about is None:
        return manifest
    with open(about, newline="", encoding="utf-8") as file:
        rows = {Path(row["image"]).stem.lower(): row for row in csv.DictReader(file)}
    items = [replace(item, attributes=item.attributes | rows.get(image_id(item), {})) for item in manifest.items]
    return replace(manifest, items=tuple(items))


def classify(classifier: Classifier, name: str, manifest: Manifest) -> Answers:
    """Classify every image as the device does."""
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
                held.append(prediction.prediction_set is not None and item.label in prediction.prediction_set.labels)
            step(1)
    if not any(category):
        raise DataError(f"{classifier.model.name}: its label set marks no class as malignant")
    labels = tuple(label.label for label in classifier.model.spec.labels)
    return Answers(name, labels, tuple(kept), np.array(top), np.array(category), np.array(held), skipped)


def page_lines(classifier: Classifier, answers: Sequence[Answers]) -> Iterator[str]:
    """Yield the page's lines."""
    own, *others = answers
    spec = classifier.model.spec
    malignant = [label.label for label in spec.labels if label.malignant]
    names = {label.label: label.name for label in spec.labels}
    yield "# How good is it, and for whom?"
    yield ""
    yield from _summary(own, malignant)
    yield ""
    yield (
        f"Model: {spec.name} {spec.variant}, id `{classifier.model.id[:16]}…`, in {classifier.runtime.name} "
        f"{classifier.runtime.version}, {datetime.date.today()}. Percentages have 95 % intervals over lesions; below "
        f"{FEWEST} lesions only counts are given. This page is the output of:"
    )
    yield ""
    yield "    python -m experiments.how_good --data HAM/ham10000-split.csv --about HAM/ham10000-labels.csv \\"
    yield "          --external 'ISIC 2017'=ISIC2017/manifest.csv --out docs/reports/how-good.md"
    yield ""
    yield "## How urgent does it call malignant and benign lesions?"
    yield ""
    rows = []
    for each in answers:
        for title, rows_of in _kinds(each, malignant):
            rows.append([each.name, title, *_triage_cells(each, rows_of)])
    yield markdown(["images", "lesions", "number", *CATEGORIES], rows, words=2)
    yield ""
    yield (
        '"Review now" and "review soon" together are what a clinician is asked to look at. "Cannot assess" means '
        "that the image quality check asks for a better picture."
    )
    yield ""
    yield "## Does it name the right kind of lesion?"
    yield ""
    yield (
        f"{own.name}. Sensitivity: how often images of this class have it as the top class. Specificity: how often "
        "images of other classes do not. An image that cannot be assessed counts as not named. The last column says "
        "how often the prediction set, the list of classes that the lesion may be, holds the true class."
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
        rows_of = each.truth == POSITIVE
        named = _share(each.top[rows_of] == MELANOMA, each.groups[rows_of])
        other = _share(each.top[~rows_of] != MELANOMA, each.groups[~rows_of])
        yield f"{each.name}: melanoma is the top class in {named} of the melanomas, and another in {other} of the rest."
        yield ""
    yield "## For whom?"
    yield ""
    yield (
        "The share of malignant lesions that it calls urgent (review now or soon), and of benign lesions that it does "
        "not, by group of patients."
    )
    yield ""
    rows = [row for each in answers for row in _group_rows(each, malignant)]
    yield markdown(["images", "patients", "malignant", "called urgent", "benign", "not called urgent"], rows, words=2)
    yield ""
    yield from _beside(own, malignant)


def _summary(own: Answers, malignant: Sequence[str]) -> Iterator[str]:
    """Yield the page's point in a few sentences."""
    melanoma, benign = own.truth == MELANOMA, ~np.isin(own.truth, malignant)
    now, soon, routine = (_of_100(own.category[melanoma] == name) for name in (*URGENT, "routine"))
    first = _of_100(own.top[melanoma] == MELANOMA)
    alarms = _of_100(np.isin(own.category, URGENT)[benign])
    yield (
        f'Of 100 melanoma images, the model calls {now} "review now", {soon} "review soon" and {routine} "routine", '
        f"and names melanoma first in {first}. Of 100 images of benign lesions, it calls {alarms} urgent. It knows "
        "dermatoscope images of mostly fair skin from two clinics, and was not tested on patients in a practice. "
        '"Routine" is no all-clear.'
    )


def _of_100(hits: NDArray[np.bool_]) -> int:
    return round(100 * float(hits.mean()))


def _kinds(each: Answers, malignant: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the kinds of lesions that a data set tells apart, and their rows."""
    if POSITIVE in each.truth:
        return [("melanoma", each.truth == POSITIVE), ("all others", each.truth != POSITIVE)]
    sick = np.isin(each.truth, malignant)
    return [("melanoma", each.truth == MELANOMA), ("all malignant", sick), ("benign", ~sick)]


def _triage_cells(each: Answers, rows: NDArray[np.bool_]) -> list[str]:
    groups = each.groups[rows]
    number = f"{int(rows.sum())} images, {len(np.unique(groups))} lesions"
    return [number, *(_share(each.category[rows] == category, groups) for category in CATEGORIES)]


def _class_row(own: Answers, label: str, name: str) -> list[str]:
    rows, groups = own.truth == label, own.groups
    return [
        label,
        name.partition(":")[0],
        str(len(np.unique(groups[rows]))),
        _share(own.top[rows] == label, groups[rows]),
        _share(own.top[~rows] != label, groups[~rows]),
        _share(own.held[rows], groups[rows]),
    ]


def _group_rows(each: Answers, malignant: Sequence[str]) -> Iterator[list[str]]:
    sick = np.isin(each.truth, [*malignant, POSITIVE])
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


def _beside(own: Answers, malignant: Sequence[str]) -> Iterator[str]:
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
