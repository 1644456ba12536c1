"""The text and the tables of the page."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.how_good.classified import MELANOMA, Classified
from spot_bench.drift.subgroups import ordered, stated_values
from spot_bench.report.tables import markdown
from spot_bench.stats.intervals import Estimate, proportion
from spot_edge.classifier import Classifier
from spot_edge.prediction.prediction import Category

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
    yield from _summary(own, others, malignant, is_ham=is_ham)
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


def _summary(own: Classified, others: Sequence[Classified], malignant: Sequence[str], *, is_ham: bool) -> Iterator[str]:
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
    for each in others:
        urgent, melanoma = np.isin(each.category, URGENT), each.truth == each.positive
        yield ""
        yield (
            f"On images of another origin, {each.name}, it calls {_of_100(urgent[melanoma])} of 100 melanomas and "
            f"{_of_100(urgent[~melanoma])} of 100 others urgent, and cannot assess "
            f"{_of_100(each.category == 'cannot assess')} of 100."
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
