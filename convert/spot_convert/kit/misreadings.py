"""The usual ways to misread right outputs: each foretells what an app with that mistake would report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spot_convert.kit.vectors import KnownWay

__all__ = ["Misreading", "misreadings"]

_BY_NAME = "read the output named scores, by its name in the signature"
_ORDER = "position i of the scores belongs to line i of labels.txt"
_STALE = "fill the input anew before each run, and copy the output before the next"


@dataclass(frozen=True, slots=True, eq=False)
class Misreading:
    """What an app would report, one row an answer; NaN where the mistake foretells nothing."""

    mistake: str
    what: str
    mend: str
    scores: NDArray[np.float64] = field(repr=False)
    unit: float = 1.0  # differences are measured in these, so that logits or bytes weigh as much as scores


def misreadings(way: KnownWay, rows: tuple[int, ...], labels: tuple[str, ...]) -> Iterator[Misreading]:
    """All of them, of the outputs that `way` leads to for the pictures `rows`, in the order in which they were run."""
    chosen = list(rows)
    scores, logits = way.scores[chosen], way.logits[chosen]
    yield from _other_numbers(scores, logits)
    for name, table in way.whole.items():
        for count, part in ((table.shape[1], "all"), (len(labels), "the beginning")):
            values = table[chosen][:, :count]
            yield Misreading(
                f"output-{name}", f"{part} of the output {name} is read", _BY_NAME, values, _spread(values, scores)
            )
    yield from _other_order(scores, labels)
    yield from _other_picture(scores)


def _other_numbers(scores: NDArray[np.float64], logits: NDArray[np.float64]) -> Iterator[Misreading]:
    what = "the logits (the mean of the evidence) are reported instead of the scores"
    yield Misreading("logits", what, _BY_NAME, logits, _spread(logits, scores))
    twice = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    what = "softmax is applied to scores, which went through one already"
    yield Misreading("softmax-twice", what, "report the scores as they are", twice, _spread(twice, scores))
    what = "the scores are bytes, 0 to 255, not turned back into 0 to 1"
    yield Misreading("bytes", what, "the scores are float32: read them as such", 255 * scores, 255.0)
    yield Misreading("percent", "the scores are percentages", "report scores from 0 to 1", 100 * scores, 100.0)


def _other_order(scores: NDArray[np.float64], labels: tuple[str, ...]) -> Iterator[Misreading]:
    for step, words in ((1, "after"), (-1, "before")):
        shifted = np.roll(scores, step, axis=1)
        shifted[:, 0 if step > 0 else -1] = np.nan
        yield Misreading("shifted", f"the scores stand one place {words} their labels", _ORDER, shifted)
    alphabetical = sorted(range(len(labels)), key=labels.__getitem__)
    if alphabetical != list(range(len(labels))):
        what = "the labels were sorted alphabetically"
        yield Misreading("sorted-labels", what, _ORDER, scores[:, alphabetical])
    what = "the scores are in the order of their ranks, and no labels are given with them"
    yield Misreading(
        "ranked", what, 'report them in the order of labels.txt, or give "labels"', -np.sort(-scores, axis=1)
    )


def _other_picture(scores: NDArray[np.float64]) -> Iterator[Misreading]:
    for stuck in scores:
        what = "every answer is that of one and the same picture: a stale buffer"
        yield Misreading("stale", what, _STALE, np.broadcast_to(stuck, scores.shape))
    behind = np.roll(scores, 1, axis=0)
    behind[0] = np.nan
    yield Misreading("behind", "every answer is that of the picture before it: a stale buffer", _STALE, behind)


def _spread(values: NDArray[np.float64], scores: NDArray[np.float64]) -> float:
    return float(max(values.std(), 1e-6) / max(scores.std(), 1e-6))
