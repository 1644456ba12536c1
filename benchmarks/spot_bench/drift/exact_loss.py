"""Count the lesions that a file loses, gains and flips, one image each, with bounds that hold for few of them.

A lesion counts by its first image by name, so that lesions are independent. It is lost if the baseline is right and the
other model wrong, and gained in the reverse case.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.stats.exact import binomial_lower, binomial_upper, first_rows, net_loss
from spot_bench.stats.metrics import Bools

__all__ = ["exact_loss"]


def exact_loss(
    baseline: Predictions,
    other: Predictions,
    malignant: Bools,
    common: int,
    unlabelled: tuple[Predictions, Predictions] | None = None,
) -> dict[str, Any]:
    """Return net losses of recall with their one-sided 95 % bounds, and the share of flips.

    Both models need the same column order. `malignant` marks the malignant classes, `common` is the most frequent
    class. `unlabelled` are both models' predictions for images without a label, whose `truth` is ignored. They inform
    only the flips. To leave out the most frequent class there, the baseline's top class stands in for the label.
    """
    truth, before, after = baseline.truth, baseline.scores.argmax(axis=1), other.scores.argmax(axis=1)
    first, labels = first_rows(baseline.groups, baseline.images), baseline.labels
    right, now = before == truth, after == truth
    counts = np.array([_counts(right, now, _first(baseline, truth == index)) for index in range(len(labels))])
    every = net_loss(*counts.T)
    rarest = min((index for index in range(len(labels)) if counts[index, 2]), key=lambda index: int(counts[index, 2]))
    called, still = malignant[before], malignant[after]
    named = f"all but {labels[common]}"
    return {
        "balanced_accuracy": every._asdict() | {"rarest": labels[rarest], "rarest_lesions": int(counts[rarest, 2])},
        "recall": {label: net_loss(*count[:, None])._asdict() for label, count in zip(labels, counts, strict=True)},
        "malignant_recall": net_loss(
            *np.array([_counts(called, still, _first(baseline, malignant[truth]))]).T
        )._asdict()
        if malignant[truth].any()
        else None,
        "flips": {
            "all": _flips(before != after, first, _unlabelled(unlabelled, None)),
            named: _flips(before != after, _first(baseline, truth != common), _unlabelled(unlabelled, labels[common])),
        },
    }


def _first(predictions: Predictions, rows: Bools) -> Bools:
    """Mark the first image of each lesion among `rows`."""
    marked = np.zeros(len(rows), bool)
    marked[rows] = first_rows(predictions.groups[rows], predictions.images[rows])
    return marked


def _counts(before: Bools, after: Bools, rows: Bools) -> tuple[int, int, int]:
    """Count the lesions lost, gained, and all."""
    return int((before & ~after & rows).sum()), int((after & ~before & rows).sum()), int(rows.sum())


def _flips(flipped: Bools, rows: Bools, more: tuple[int, int]) -> dict[str, Any]:
    count, lesions = int((flipped & rows).sum()) + more[0], int(rows.sum()) + more[1]
    return {
        "value": count / lesions if lesions else 0.0,
        "low": binomial_lower(count, lesions),
        "high": binomial_upper(count, lesions),
        "flipped": count,
        "lesions": lesions,
        "unlabelled": {"flipped": more[0], "lesions": more[1]},
    }


def _unlabelled(pair: tuple[Predictions, Predictions] | None, common: str | None) -> tuple[int, int]:
    """Count flipped lesions and all lesions without a label; without those that the baseline calls `common`."""
    if pair is None:
        return 0, 0
    before, after = (_top(predictions) for predictions in pair)
    rows = _first(pair[0], np.ones(len(before), bool) if common is None else before != common)
    return int(((before != after) & rows).sum()), int(rows.sum())


def _top(predictions: Predictions) -> NDArray[np.str_]:
    return np.array([predictions.labels[index] for index in predictions.scores.argmax(axis=1)], np.str_)
