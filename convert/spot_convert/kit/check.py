"""Does an app answer as the kit says it must, and if not, which of the usual mistakes explains its answers?

Every mistake's answers were computed when the kit was made, by running the model on the wrongly prepared tensors: so
no interpreter is needed here. The mistake that is clearly nearer to the app's answers than the right way is named, with
any other that is nearly as near.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spot_convert.kit.mistakes import misreadings
from spot_convert.kit.results import Part, Results
from spot_convert.kit.vectors import RIGHT, STOCK, Kit, KnownWay

__all__ = ["Cause", "Finding", "Verdict", "check"]

_CLEARLY = 2.0  # an explanation must be so many times nearer than the right answers
_NEARLY = 1.5  # and others that are not so many times farther than it are named beside it
_NOTHING = 0.001  # root mean square of scores below which two explanations cannot be told apart at all
_REACH = 3.0  # tolerances that an explanation may be off: kernels differ more on pictures nobody would take
_SAME_MEAN = 2.0  # grey levels by which two apps' resizing may shift a channel's mean


@dataclass(frozen=True, slots=True)
class Cause:
    """A mistake that explains an app's answers, and what to do."""

    mistake: str
    what: str
    mend: str
    rms: float | None = None  # how far the answers are from those of the mistake


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of an app's answers to one of the kit's two folders."""

    part: str
    images: int
    conforms: bool
    causes: tuple[Cause, ...]  # more than one where they cannot be told apart; empty where no usual one explains it
    largest: float | None  # difference of a score from the right one; None for answers of another length
    rms: float | None
    worst: str | None  # image and label of the largest
    nearest: Cause | None = None  # the mistake that comes nearest, where none explains it
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole answer: it conforms where the model file is the kit's and every part of the results conforms."""

    platform: str
    other_model: str | None  # the id that the app reports, where it is not the kit's
    findings: tuple[Finding, ...]

    @property
    def conforms(self) -> bool:
        return self.other_model is None and all(finding.conforms for finding in self.findings)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A way to prepare or to read that would give such answers, and how far they are from it."""

    cause: Cause
    resize: str
    rms: float
    gaps: NDArray[np.float64] = field(repr=False)


def check(kit: Kit, results: Results) -> Verdict:
    """Judge `results` by `kit`."""
    other = results.model if results.model not in (None, kit.model["id"]) else None
    return Verdict(results.platform, other, tuple(_judge(kit, part, results.resize) for part in results.parts))


def _judge(kit: Kit, part: Part, resize: str) -> Finding:
    accepted = {RIGHT, STOCK} if resize == STOCK and part.name == "vectors" else {RIGHT}
    ways = [way for way in kit.ways.values() if way.inputs or part.name == "vectors"]
    known, notes = _by_input(ways, part, accepted)
    fits = sorted(_fits(kit, known, part), key=lambda fit: fit.rms)
    right = next((fit for fit in fits if fit.cause.mistake in accepted), None)
    wrong = [fit for fit in fits if fit.cause.mistake not in accepted]
    explained = _explained(kit, wrong, right) or _explained(kit, _last_resorts(kit, part), right)
    near = right is not None and right.rms <= kit.tolerance_rms and np.abs(right.gaps).max() <= kit.tolerance_score
    if right is not None and near and (not explained or right.rms <= kit.tolerance_rms / 4):
        return _finding(kit, part, right, True, (), notes=notes)
    causes = _told_apart(explained)
    if not causes and right is not None and known == [kit.ways[RIGHT]]:
        notes = (*notes, "the input is right, byte for byte: another model file, or kernels that compute otherwise")
    return _finding(kit, part, right, False, causes, None if causes or not wrong else wrong[0].cause, notes)


def _by_input(ways: list[KnownWay], part: Part, accepted: set[str]) -> tuple[list[KnownWay], tuple[str, ...]]:
    """The ways that what the app says of its input tensors leaves possible; all, where that fits none."""
    rows = list(part.rows)
    told = [number for number, digest in enumerate(part.digests) if digest]
    if told:
        same = [way for way in ways if all(way.digests[rows[number]] == part.digests[number] for number in told)]
        if same and not any(way.key in accepted for way in same):
            return same, (f"the input tensors are, byte for byte, those of this mistake: {same[0].what}",)
        if same:
            return same, ()
    gaps = {way.key: np.abs(way.means[rows] - part.means) for way in ways}
    close = [way for way in ways if not (gaps[way.key] > _SAME_MEAN).any()]  # what is not told (NaN) excludes nothing
    if not close:
        return ways, ("the means of the input are those of no usual mistake",)
    if not any(way.key in accepted for way in close):
        return close, ("the means of the input are not those of the kit's",)
    return close, ()


def _fits(kit: Kit, ways: list[KnownWay], part: Part) -> Iterator[_Fit]:
    rows = list(part.rows)
    for way in ways:
        if part.scores.shape[1] == len(kit.labels):
            yield _fit(Cause(way.mistake, way.what, way.mend), way.resize, part.scores - way.scores[rows])
        for misread in misreadings(way, part.rows, kit.labels) if way.whole else ():
            if misread.scores.shape == part.scores.shape:
                cause = Cause(misread.mistake, misread.what, misread.mend)
                yield _fit(cause, way.resize, (part.scores - misread.scores) / misread.unit)


def _fit(cause: Cause, resize: str, gaps: NDArray[np.float64]) -> _Fit:
    rms = float(np.sqrt(np.nanmean(gaps**2)))
    return _Fit(Cause(cause.mistake, cause.what, cause.mend, rms), resize, rms, gaps)


def _last_resorts(kit: Kit, part: Part) -> list[_Fit]:
    """Explanations that bend to the answers, and so count only where no stiff one holds."""
    if part.scores.shape[1] != len(kit.labels):
        return []
    what = "every picture gets the same answer, and it is none of the kit's: a buffer that is never filled or read anew"
    same = Cause("constant", what, "fill the input before each run, and read the output after it")
    order = _likeliest_order(part.scores, kit.ways[RIGHT].scores[list(part.rows)])
    said = ", ".join(kit.labels[label] for label in order)
    mixed = Cause("order", f"the scores are in another order: most likely {said}", "report them in that of labels.txt")
    right = kit.ways[RIGHT].scores[list(part.rows)][:, order]
    fits = [_fit(same, RIGHT, part.scores - part.scores.mean(axis=0)), _fit(mixed, RIGHT, part.scores - right)]
    return fits if fits[0].rms <= kit.tolerance_rms else fits[1:]


def _likeliest_order(scores: NDArray[np.float64], right: NDArray[np.float64]) -> list[int]:
    """For each of the app's positions the label whose right scores it holds: nearest pairs first."""
    gaps = ((scores[:, :, np.newaxis] - right[:, np.newaxis, :]) ** 2).mean(axis=0)
    order = [0] * len(gaps)
    for _ in order:
        position, label = np.unravel_index(int(gaps.argmin()), gaps.shape)
        order[int(position)] = int(label)
        gaps[position], gaps[:, label] = np.inf, np.inf
    return order


def _explained(kit: Kit, wrong: list[_Fit], right: _Fit | None) -> list[_Fit]:
    """The best of `wrong`, if it explains the answers clearly better than the right way, and those nearly as good."""
    best = min((fit.rms for fit in wrong), default=np.inf)
    if best > _REACH * kit.tolerance_rms or (right is not None and best * _CLEARLY > right.rms):
        return []
    return [fit for fit in wrong if fit.rms <= max(_NEARLY * best, best + _NOTHING)]


def _told_apart(fits: list[_Fit]) -> tuple[Cause, ...]:
    """One cause a mistake, with a word on the resizing where only the stock one explains it."""
    causes = []
    for mistake in dict.fromkeys(fit.cause.mistake for fit in fits):
        same = [fit for fit in fits if fit.cause.mistake == mistake]
        cause = same[0].cause
        if mistake != STOCK and all(fit.resize == STOCK for fit in same):
            what = f"{cause.what}; besides, the resizing is a stock client's"
            cause = Cause(cause.mistake, what, cause.mend, cause.rms)
        causes.append(cause)
    return tuple(causes)


def _finding(
    kit: Kit,
    part: Part,
    right: _Fit | None,
    conforms: bool,
    causes: tuple[Cause, ...],
    nearest: Cause | None = None,
    notes: tuple[str, ...] = (),
) -> Finding:
    largest = rms = worst = None
    if part.scores.shape[1] == len(kit.labels):
        gaps = np.abs(part.scores - kit.ways[RIGHT].scores[list(part.rows)]) if right is None else np.abs(right.gaps)
        row, column = np.unravel_index(int(gaps.argmax()), gaps.shape)
        images = kit.inputs if part.name == "inputs" else kit.pictures
        largest, rms = float(gaps.max()), float(np.sqrt((gaps**2).mean()))
        worst = f"{images[part.rows[int(row)]]}, {kit.labels[int(column)]}"
    return Finding(part.name, len(part.rows), conforms, causes, largest, rms, worst, nearest, notes)
