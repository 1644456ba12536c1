"""Check an app's scores against a kit, and find the common mistake that explains wrong scores.

The kit already holds the outputs for every mistake, so this needs no interpreter. A mistake is named if it explains the
scores clearly better than the correct way does, together with others that explain them nearly as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spot_convert.kit.mistakes import misreadings
from spot_convert.kit.results import FolderResults, Results
from spot_convert.kit.vectors import CORNERS, RIGHT, STOCK, Kit, KnownWay
from spot_convert.kit.verdict import Cause, Finding, Verdict

__all__ = ["check"]

_CLEARLY = 2.0  # a mistake must be this many times nearer than the correct scores
_NEARLY = 1.5  # other mistakes up to this many times farther than the nearest are named as well
_NOISE = 0.001  # root mean square of scores below which two explanations are indistinguishable
_REACH = 3.0  # a mistake may be off by this many tolerances: kernels differ more on unrealistic images
_SAME_MEAN = 2.0  # grey levels by which resizing may shift the mean of a channel
_STILL_ADVICE = (
    "if inputs/ and vectors/ conform, decode large JPEGs at full size, or keep three pixels per pixel of the network"
)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """A way to prepare images or to read outputs, and how far the scores are from it."""

    cause: Cause
    resize: str
    rms: float
    gaps: NDArray[np.float64] = field(repr=False)


def check(kit: Kit, results: Results) -> Verdict:
    """Check `results` against `kit`."""
    other = results.model if results.model not in (None, kit.model["id"]) else None
    findings = tuple(
        _check_stills(kit, part, results.resize)
        if part.folder == "stills"
        else _check_folder(kit, part, results.resize)
        for part in results.folders
    )
    return Verdict(results.platform, other, findings)


def _check_folder(kit: Kit, part: FolderResults, resize: str) -> Finding:
    accepted = {RIGHT, STOCK} if resize == STOCK and part.folder == "vectors" else {RIGHT}
    ways = [way for way in kit.ways.values() if way.inputs or part.folder == "vectors"]
    known, notes = _by_input(ways, part, accepted)
    fits = sorted(_fits(kit, known, part), key=lambda fit: fit.rms)
    right = next((fit for fit in fits if fit.cause.mistake in accepted), None)
    wrong = [fit for fit in fits if fit.cause.mistake not in accepted]
    explained = _explained(kit, wrong, right) or _explained(kit, _last_resorts(kit, part), right)
    near = right is not None and right.rms <= kit.tolerance_rms and np.abs(right.gaps).max() <= kit.tolerance_score
    if right is not None and near and (not explained or right.rms <= kit.tolerance_rms / 4):
        return _finding(kit, part, right, True, (), notes=notes)
    causes = _causes(explained)
    if not causes and right is not None and known == [kit.ways[RIGHT]]:
        notes = (*notes, "the input is correct, byte for byte. Is it another model file, or a faulty runtime?")
    return _finding(kit, part, right, False, causes, None if causes or not wrong else wrong[0].cause, notes)


def _check_stills(kit: Kit, part: FolderResults, resize: str) -> Finding:
    """Compare scores alone: apps decode large images differently, and one image cannot tell mistakes apart."""
    accepted = (RIGHT, STOCK, CORNERS) if resize == STOCK else (RIGHT,)
    if part.scores.shape[1] != len(kit.labels):
        return Finding(part.folder, len(part.rows), False, (), None, None, None, notes=(_STILL_ADVICE,))
    stills = [kit.stills[row] for row in part.rows]
    gaps = np.array(
        [
            min((np.abs(scores - still.scores[way][0]) for way in accepted), key=np.max)
            for still, scores in zip(stills, part.scores, strict=True)
        ]
    )
    row, column = np.unravel_index(int(gaps.argmax()), gaps.shape)
    worst = f"{stills[int(row)].image}, {kit.labels[int(column)]}"
    conforms = bool((gaps.max(axis=1) <= [still.tolerance for still in stills]).all())
    largest, rms = float(gaps.max()), float(np.sqrt((gaps**2).mean()))
    notes = () if conforms else (_STILL_ADVICE,)
    return Finding(part.folder, len(part.rows), conforms, (), largest, rms, worst, notes=notes)


def _by_input(ways: list[KnownWay], part: FolderResults, accepted: set[str]) -> tuple[list[KnownWay], tuple[str, ...]]:
    """Return the ways that match the input digests or means given by the app; all ways if none matches."""
    rows = list(part.rows)
    given = [number for number, digest in enumerate(part.digests) if digest]
    if given:
        same = [way for way in ways if all(way.digests[rows[number]] == part.digests[number] for number in given)]
        if same and not any(way.key in accepted for way in same):
            return same, (f"the input tensors match this mistake byte for byte: {same[0].what}",)
        if same:
            return same, ()
    gaps = {way.key: np.abs(way.means[rows] - part.means) for way in ways}
    close = [way for way in ways if not (gaps[way.key] > _SAME_MEAN).any()]  # a mean not given (NaN) excludes nothing
    if not close:
        return ways, ("the means of the input match no common mistake",)
    if not any(way.key in accepted for way in close):
        return close, ("the means of the input differ from the kit's",)
    return close, ()


def _fits(kit: Kit, ways: list[KnownWay], part: FolderResults) -> Iterator[_Fit]:
    rows = list(part.rows)
    for way in ways:
        if part.scores.shape[1] == len(kit.labels):
            yield _fit(Cause(way.mistake, way.what, way.fix), way.resize, part.scores - way.scores[rows])
        for misread in misreadings(way, part.rows, kit.labels) if way.complete else ():
            if misread.scores.shape == part.scores.shape:
                cause = Cause(misread.mistake, misread.what, misread.fix)
                yield _fit(cause, way.resize, (part.scores - misread.scores) / misread.unit)


def _fit(cause: Cause, resize: str, gaps: NDArray[np.float64]) -> _Fit:
    rms = float(np.sqrt(np.nanmean(gaps**2)))
    return _Fit(Cause(cause.mistake, cause.what, cause.fix, rms), resize, rms, gaps)


def _last_resorts(kit: Kit, part: FolderResults) -> list[_Fit]:
    """Return explanations that adapt to the scores. They only count if no fixed explanation fits."""
    if part.scores.shape[1] != len(kit.labels):
        return []
    what = "all images get the same scores, which match no image of the kit: a buffer is never filled, or never read"
    same = Cause("constant", what, "fill the input before each run, and read the output after it")
    order = _likeliest_order(part.scores, kit.ways[RIGHT].scores[list(part.rows)])
    labels = ", ".join(kit.labels[label] for label in order)
    mixed = Cause("order", f"the scores are in another order, most likely {labels}", "use the order of labels.txt")
    right = kit.ways[RIGHT].scores[list(part.rows)][:, order]
    fits = [_fit(same, RIGHT, part.scores - part.scores.mean(axis=0)), _fit(mixed, RIGHT, part.scores - right)]
    return fits if fits[0].rms <= kit.tolerance_rms else fits[1:]


def _likeliest_order(scores: NDArray[np.float64], right: NDArray[np.float64]) -> list[int]:
    """Return the label that most likely belongs to each position of the app's scores, matching nearest pairs first."""
    gaps = ((scores[:, :, np.newaxis] - right[:, np.newaxis, :]) ** 2).mean(axis=0)
    order = [0] * len(gaps)
    for _ in order:
        position, label = np.unravel_index(int(gaps.argmin()), gaps.shape)
        order[int(position)] = int(label)
        gaps[position], gaps[:, label] = np.inf, np.inf
    return order


def _explained(kit: Kit, wrong: list[_Fit], right: _Fit | None) -> list[_Fit]:
    """Return the best of `wrong`, if it is clearly better than the correct way, and those nearly as good."""
    best = min((fit.rms for fit in wrong), default=np.inf)
    if best > _REACH * kit.tolerance_rms or (right is not None and best * _CLEARLY > right.rms):
        return []
    return [fit for fit in wrong if fit.rms <= max(_NEARLY * best, best + _NOISE)]


def _causes(fits: list[_Fit]) -> tuple[Cause, ...]:
    """Return one cause per mistake. Mention stock resizing if the mistake fits only together with it."""
    causes = []
    for mistake in dict.fromkeys(fit.cause.mistake for fit in fits):
        same = [fit for fit in fits if fit.cause.mistake == mistake]
        cause = same[0].cause
        if mistake != STOCK and all(fit.resize == STOCK for fit in same):
            what = f"{cause.what}; also, the app uses stock resizing"
            cause = Cause(cause.mistake, what, cause.fix, cause.rms)
        causes.append(cause)
    return tuple(causes)


def _finding(
    kit: Kit,
    part: FolderResults,
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
        images = kit.inputs if part.folder == "inputs" else kit.vectors
        largest, rms = float(gaps.max()), float(np.sqrt((gaps**2).mean()))
        worst = f"{images[part.rows[int(row)]]}, {kit.labels[int(column)]}"
    return Finding(part.folder, len(part.rows), conforms, causes, largest, rms, worst, nearest, notes)
