"""The figures and tables of the page. Its text is in `page.md.j2`."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
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
SICK, LESIONS = 20, 1000  # of the illustration

# Published figures, quoted from the abstracts of the papers: who, on what, sensitivity, specificity, source.
HAENSSLE, PHILLIPS = "Haenssle et al., Ann. Oncol. 29:1836 (2018)", "Phillips et al. (2020)"
META_ANALYSIS = "meta-analysis in Phillips et al., Dermatol. Pract. Concept. 10:e2020011 (2020)"
LESIONS_OF_STUDIES = "melanoma against other pigmented lesions, with or without a dermatoscope, checked by histology"
PUBLISHED = (
    ("58 dermatologists, dermatoscope image only", "melanoma or nevus, 100 images", "86.6 %", "71.3 %", HAENSSLE),
    ("the same, with clinical data and close-ups", "the same 100 lesions", "88.9 %", "75.7 %", HAENSSLE),
    (
        "a large network (Inception-v4), at the dermatologists' image-only sensitivity",
        "the same 100 images",
        "86.6 %",
        "82.5 %",
        HAENSSLE,
    ),
    ("dermatologists, 92 studies", LESIONS_OF_STUDIES, "87.5 %", "81.4 %", META_ANALYSIS),
    ("primary care doctors, 10 studies", "the same", "79.9 %", "70.9 %", META_ANALYSIS),
    (
        "DERM, a commercial ensemble of networks; some authors work for its maker",
        "melanoma against benign pigmented lesions",
        "85.0 %",
        "85.3 %",
        PHILLIPS,
    ),
    ("the same, with the threshold set for 95 % sensitivity", "the same", "95 %", "64.1 %", PHILLIPS),
)


def render_page(
    classifier: Classifier, classified: Sequence[Classified], command: Sequence[str], *, is_ham: bool
) -> str:
    """Render the page. `command` is what wrote it; `is_ham` says whether the first data set is HAM10000."""
    own, *others = classified
    spec = classifier.model.spec
    malignant = [label.label for label in spec.labels if label.malignant]
    names = {label.label: label.name.partition(":")[0] for label in spec.labels}
    template = Path(__file__).with_name("page.md.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
    return environment.from_string(template).render(
        is_ham=is_ham,
        has_isic2017=any(each.name == "ISIC 2017" for each in others),
        own=_own_figures(own, malignant),
        others=[_other_figures(each, malignant) for each in others],
        model=f"{spec.name} {spec.variant}, id `{classifier.model.id[:16]}…`, in {classifier.runtime.name} "
        f"{classifier.runtime.version}, {datetime.date.today()}",
        fewest=FEWEST,
        command="\n".join(command),
        triage=_triage_table(classified, malignant),
        skipped="; ".join(f"{each.skipped} of {each.name}" for each in classified),
        **_illustration(own, malignant),
        set_size=f"{_assessed(own).sum(axis=1).mean():.1f}",
        classes=len(names),
        by_class=_class_table(own, names),
        always=", ".join(label for n, label in enumerate(own.labels) if _assessed(own)[:, n].all()),
        missed=_missed(own, names),
        by_group=_group_table(classified, malignant),
        published=markdown(["who", "on what", "sensitivity", "specificity", "source"], PUBLISHED, words=5),
        nearest=_nearest(classified, malignant),
        histology=_confirmed(own, malignant),
    )


def _assessed(each: Classified) -> NDArray[np.bool_]:
    """Return the prediction sets of the images that pass the quality check."""
    return np.asarray(each.possible[each.category != "cannot assess"])


def _own_figures(own: Classified, malignant: Sequence[str]) -> dict[str, Any]:
    melanoma, benign = own.truth == MELANOMA, ~np.isin(own.truth, malignant)
    keys = ("now", "soon", "routine", "unknown")
    return {key: _of_100(own.category[melanoma] == each) for key, each in zip(keys, CATEGORIES, strict=True)} | {
        "name": own.name,
        "named": _of_100(own.top[melanoma] == MELANOMA),
        "alarms": _of_100(_urgent(own)[benign]),
    }


def _other_figures(each: Classified, malignant: Sequence[str]) -> dict[str, Any]:
    melanoma, urgent = each.truth == each.positive, _urgent(each)
    (_, _), *_, (_, rest) = _kinds(each, malignant)
    odds = urgent[melanoma].mean() / urgent[rest].mean() if urgent[rest].any() else np.inf
    return {
        "name": each.name,
        "urgent": _of_100(urgent[melanoma]),
        "alarms": _of_100(urgent[rest]),
        "ratio": f"{odds:.1f}",
        "routine": _of_100(each.category[melanoma] == "routine"),
        "unknown": _of_100(each.category[melanoma] == "cannot assess"),
        "named_share": _share(each.top[melanoma] == MELANOMA, each.groups[melanoma]),
        "misnamed_share": _share(each.top[rest] == MELANOMA, each.groups[rest]),
    }


def _urgent(each: Classified) -> NDArray[np.bool_]:
    return np.isin(each.category, URGENT)


def _of_100(hits: NDArray[np.bool_]) -> int:
    return round(100 * float(hits.mean()))


def _kinds(each: Classified, malignant: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the kinds of lesions that a data set tells apart, and their rows: melanoma first, benign last."""
    melanoma = each.truth == each.positive
    if not np.isin(each.truth, each.labels).all():
        return [("melanoma", melanoma), ("all others", ~melanoma)]
    sick = np.isin(each.truth, malignant)
    return [("melanoma", melanoma), ("all malignant", sick), ("benign", ~sick)]


def _triage_table(classified: Sequence[Classified], malignant: Sequence[str]) -> str:
    rows = []
    for each in classified:
        kinds = _kinds(each, malignant)
        histology = np.array([item.attributes.get("confirmed_by") == "histo" for item in each.items])
        benign = kinds[-1][1] & histology
        if benign.any() and kinds[-1][0] == "benign":
            kinds.append(("benign, confirmed by histology", benign))
        for title, chosen in kinds:
            groups = each.groups[chosen]
            lesions = len(np.unique(groups))
            number = f"{len(groups)} images" + (f", {lesions} lesions" if lesions < len(groups) else "")
            shares = [_share(each.category[chosen] == category, groups) for category in CATEGORIES]
            rows.append([each.name, title, number, *shares])
    return markdown(["images", "lesions", "number", *CATEGORIES], rows, words=2)


def _illustration(own: Classified, malignant: Sequence[str]) -> dict[str, Any]:
    """Return how many lesions these rates would call urgent where few lesions are malignant."""
    sick, urgent = np.isin(own.truth, malignant), _urgent(own)
    found = SICK * float(urgent[sick].mean())
    flagged = found + (LESIONS - SICK) * float(urgent[~sick].mean())
    return {
        "malignant_share": f"{_of_100(sick)} %",
        "sick": SICK,
        "lesions": f"{LESIONS:,}",
        "flagged": round(flagged),
        "found": round(found),
        "one_in": round(flagged / found) if found else "none",
    }


def _class_table(own: Classified, names: dict[str, str]) -> str:
    rows, groups = [], own.groups
    for number, (label, name) in enumerate(names.items()):
        chosen, held = own.truth == label, own.possible[:, number]
        rows.append(
            [
                label,
                name,
                str(len(np.unique(groups[chosen]))),
                _share(own.top[chosen] == label, groups[chosen]),
                _share(own.top[~chosen] != label, groups[~chosen]),
                _share(held[chosen], groups[chosen]),
                _share(held[~chosen], groups[~chosen]),
            ]
        )
    heads = ["class", "", "lesions", "sensitivity", "specificity", "set holds the true class", "set names it wrongly"]
    return markdown(heads, rows, words=2)


def _missed(own: Classified, names: dict[str, str]) -> str:
    counts = Counter(own.top[(own.truth == MELANOMA) & (own.top != MELANOMA)].tolist())
    return ", ".join(f"{names.get(label, 'not assessed')} {count}" for label, count in counts.most_common())


def _group_table(classified: Sequence[Classified], malignant: Sequence[str]) -> str:
    rows = [row for each in classified for row in _group_rows(each, malignant)]
    heads = ["images", "patients", "malignant lesions", "called urgent", "benign lesions", 'called "routine"']
    return markdown(heads, rows, words=2)


def _group_rows(each: Classified, malignant: Sequence[str]) -> Iterator[list[str]]:
    sick, urgent = np.isin(each.truth, [*malignant, each.positive]), _urgent(each)
    for attribute, values in stated_values(each.items).items():
        for value in ordered(attribute, values, each.groups):
            ill, well = (values == value) & sick, (values == value) & ~sick
            yield [
                each.name,
                f"{attribute.replace('_', ' ')}: {value or 'not stated'}",
                str(len(np.unique(each.groups[ill]))),
                _share(urgent[ill], each.groups[ill]),
                str(len(np.unique(each.groups[well]))),
                _share(each.category[well] == "routine", each.groups[well]),
            ]


def _nearest(classified: Sequence[Classified], malignant: Sequence[str]) -> str:
    """Return, for each data set, how often melanomas and other lesions are called urgent."""
    found = []
    for each in classified:
        kinds, urgent = _kinds(each, malignant), _urgent(each)
        melanoma, rest = kinds[0][1], kinds[-1][1]
        found.append(f"{_of_100(urgent[melanoma])} % of melanomas and {_of_100(urgent[rest])} % of the others urgent")
    return "".join(f"; {each.name}: {text}" for each, text in zip(classified, found, strict=True))


def _confirmed(own: Classified, malignant: Sequence[str]) -> str:
    """Return the share of benign images whose label histology confirms, or nothing if no image states it."""
    confirmed = [item.attributes.get("confirmed_by") for item in own.items if item.label not in malignant]
    return f"{round(100 * confirmed.count('histo') / len(confirmed))} %" if any(confirmed) else ""


def _share(hits: NDArray[np.bool_], groups: NDArray[np.str_]) -> str:
    """Format a share with its interval, or only the count if there are few lesions."""
    if len(np.unique(groups)) < FEWEST:
        return f"{int(hits.sum())} of {len(hits)}"
    found: Estimate = proportion(hits, groups)
    return f"{100 * found.value:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"
