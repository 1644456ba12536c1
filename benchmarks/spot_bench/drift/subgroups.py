"""Compare two models within age bands, sexes, sites and skin tones, if the data set states them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.manifest import Item, Manifest
from spot_bench.data.predictions import Predictions
from spot_bench.drift.summary import malignant_mask
from spot_bench.stats.intervals import DRAWS, bootstrap_many, proportion, wilson
from spot_bench.stats.metrics import balanced_accuracy
from spot_edge.errors import DataError

__all__ = [
    "ATTRIBUTES",
    "FEWEST_LESIONS",
    "FEWEST_OF_A_CLASS",
    "age_band",
    "ordered",
    "stated",
    "stated_values",
    "subgroups",
]

ATTRIBUTES = ("age", "sex", "site", "skin_tone")
FEWEST_LESIONS = 30
FEWEST_OF_A_CLASS = 5  # with one or two lesions, a class would dominate the mean recall
_BANDS = ((30, "under 30"), (50, "30 to 49"), (70, "50 to 69"), (131, "70 and over"))
_UNSTATED = {"", "unknown", "unspecified", "not specified", "na", "n/a", "nan", "none", "null", "-"}


def subgroups(
    baseline: Predictions, other: Predictions, manifest: Manifest, *, draws: int = DRAWS
) -> dict[str, list[dict[str, Any]]]:
    """Return, for each of ATTRIBUTES that `manifest` states, the subgroups in order with both models' figures.

    Figures based on fewer than FEWEST_LESIONS lesions are null. Both models need the same column order, as from
    `aligned`. Raise DataError for predictions on images that the data set does not list.
    """
    return {
        attribute: [
            {"subgroup": value} | _measured(baseline.where(values == value), other.where(values == value), draws)
            for value in ordered(attribute, values, baseline.groups)
        ]
        for attribute, values in stated(baseline, manifest).items()
    }


def stated(predictions: Predictions, manifest: Manifest) -> dict[str, NDArray[np.str_]]:
    """Return, for each of ATTRIBUTES that `manifest` states, the subgroup of every image; empty if not stated.

    Raise DataError for predictions on images that the data set does not list.
    """
    items = {manifest.name(item): item for item in manifest.items}
    absent = [str(image) for image in predictions.images if str(image) not in items]
    if absent:
        raise DataError(
            f"{manifest.origin}: does not list {absent[0]}. Pass the data set that the predictions were made on"
        )
    return stated_values([items[str(image)] for image in predictions.images])


def stated_values(items: Sequence[Item]) -> dict[str, NDArray[np.str_]]:
    """Return, for each of ATTRIBUTES that any of `items` states, the subgroup of each; empty if not stated."""
    columns = {name: np.array([_value(item, name) for item in items]) for name in ATTRIBUTES}
    return {name: values for name, values in columns.items() if values.any()}


def age_band(text: str) -> str:
    """Return the band of an age in years; empty for anything else."""
    try:
        age = float(text)
    except ValueError:
        return ""
    return next((band for end, band in _BANDS if 0 <= age < end), "")


def _value(item: Item, attribute: str) -> str:
    text = item.attributes.get(attribute, "").strip()
    if text.lower() in _UNSTATED:
        return ""
    return age_band(text) if attribute == "age" else text


def ordered(attribute: str, values: NDArray[np.str_], groups: NDArray[np.str_]) -> list[str]:
    """Order the subgroups of `attribute`: age bands by age, others by number of lesions; not stated (empty) last."""
    bands = [band for _, band in _BANDS]
    lesions = {str(value): len(np.unique(groups[values == value])) for value in np.unique(values)}
    rank = (lambda value: bands.index(value)) if attribute == "age" else (lambda value: -lesions[value])
    known = sorted((value for value in lesions if value), key=rank)
    return [*known, ""] if "" in lesions else known


def _measured(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any]:
    """Compare both models on one subgroup.

    Malignant recall is the share of images of malignant classes whose top class is malignant.
    """
    malignant = malignant_mask(baseline)[baseline.truth]
    same = baseline.scores.argmax(axis=1) == other.scores.argmax(axis=1)
    enough = len(np.unique(baseline.groups)) >= FEWEST_LESIONS
    return {
        "images": len(same),
        "lesions": len(np.unique(baseline.groups)),
        "malignant_images": int(malignant.sum()),
        "malignant_lesions": len(np.unique(baseline.groups[malignant])),
        "flips": int((~same).sum()),
        "agreement": proportion(same, baseline.groups, draws).as_dict() if enough else None,
        "balanced_accuracy": _balanced(baseline, other, draws) if enough else None,
        "malignant_recall": _malignant_recall(baseline.where(malignant), other.where(malignant), draws),
    }


def _balanced(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any] | None:
    """Compare balanced accuracy over the classes with at least FEWEST_OF_A_CLASS lesions."""
    lesions = {label: len(np.unique(baseline.groups[baseline.truth == label])) for label in np.unique(baseline.truth)}
    kept = [label for label, count in lesions.items() if count >= FEWEST_OF_A_CLASS]
    if not kept:
        return None
    rows = np.isin(baseline.truth, kept)
    bound = float(np.mean([wilson(0, lesions[label])[1] for label in kept]))

    def figure(truth: Any, a: Any, b: Any) -> tuple[float, float]:
        return balanced_accuracy(truth, a), balanced_accuracy(truth, b)

    arrays = (baseline.truth[rows], baseline.scores[rows], other.scores[rows])
    return {"classes": len(kept)} | _pair(figure, baseline.groups[rows], arrays, bound, draws)


def _malignant_recall(baseline: Predictions, other: Predictions, draws: int) -> dict[str, Any] | None:
    lesions, mask = len(np.unique(baseline.groups)), malignant_mask(baseline)
    if lesions < FEWEST_LESIONS:
        return None
    arrays = (mask[baseline.scores.argmax(axis=1)], mask[other.scores.argmax(axis=1)])
    return _pair(lambda a, b: (a.mean(), b.mean()), baseline.groups, arrays, wilson(0, lesions)[1], draws)


def _pair(
    figure: Callable[..., tuple[float, float]],
    groups: NDArray[Any],
    arrays: tuple[NDArray[Any], ...],
    bound: float,
    draws: int,
) -> dict[str, Any]:
    """Estimate `figure` of both models and its difference; use `bound` where no resample differs."""

    def both(*rows: NDArray[Any]) -> NDArray[np.float64]:
        own, others = figure(*rows)
        return np.array([own, others, others - own])

    own, others, change = bootstrap_many(both, groups, *arrays, draws=draws)
    if change.low == change.high == 0:
        change = replace(change, low=-bound, high=bound)
    return {"baseline": own.as_dict(), "other": others.as_dict(), "difference": change.as_dict()}
