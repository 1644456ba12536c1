"""The report on the drift gate, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from experiments.gate_power.power import lesions_for_power, margin_for_power, power_of, without_loss
from experiments.gate_power.simulation import (
    BALANCED,
    FLIPS,
    MELANOMA,
    Counts,
    Shares,
    balanced_verdict,
    flips_verdict,
    mean_rules,
    recall_verdict,
    rules,
    simulate,
)
from spot_bench.report.tables import markdown
from spot_bench.speed.conditions import describe_machine
from spot_bench.stats.exact import ALPHA
from spot_bench.stats.intervals import wilson

__all__ = ["page"]

LESIONS = (100, 250, 1000, 5000)
LOSSES = (0.0, 0.5, 1.0, 2.0)  # of the margin
CLASSES = (0.033, 0.051, 0.110, 0.012, 0.111, 0.670, 0.013)  # HAM10000's classes: shares of the lesions
_RAREST = int(np.argmin(CLASSES))


def page(files: int) -> str:
    """Return the report as Markdown."""
    half, widest = lesions_for_power(MELANOMA, MELANOMA / 2), margin_for_power(1000)
    verdicts = ["pass, %", "fail, %", "undecided, %"]
    recall = markdown(["lesions", "true net loss", "gained", *verdicts], list(_recall_rows(files)))
    flips = markdown(["lesions", "true share", *verdicts], list(_flip_rows(files)))
    balanced = markdown(
        ["lesions", "of the rarest class", "true net loss", "where", *verdicts], list(_balanced_rows(files))
    )
    rules = markdown(
        ["lesions", "true net loss", "gained", "our rule", "exact bound of losses alone", "paired bootstrap"],
        list(_rule_rows(files)),
    )
    means = markdown(
        ["lesions", "of the rarest class", "true net loss", "where", "our rule", "paired bootstrap"],
        list(_mean_rows(files)),
    )
    needed = markdown(
        ["margin, points", "no loss", "true loss of half the margin, 80 % pass"],
        [
            [_points(m), f"{without_loss(m):,}", f"{lesions_for_power(m, m / 2):,}"]
            for m in (0.005, 0.01, 0.015, 0.02, 0.05)
        ],
    )
    return _PAGE.format(
        recall=recall,
        flips=flips,
        balanced=balanced,
        rules=rules,
        means=means,
        needed=needed,
        files=f"{files:,}",
        number=files,
        fewer=f"{_fewer(files):,}",
        melanomas=without_loss(MELANOMA),
        power=f"{100 * power_of(1000, MELANOMA, MELANOMA / 2):.0f}",
        half=f"{half:,}",
        widest=_points(widest),
        rare=math.ceil(-math.log(ALPHA) / (len(CLASSES) * BALANCED)),
        margins=[_points(margin) for margin in (MELANOMA, FLIPS, BALANCED)],
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cpu=describe_machine()["cpu"],
    )


_PAGE = """# How often the drift gate is right

A file that is worse by exactly the margin passes the drift gate in at most 5 % of cases, by every criterion that counts
lesions. A file that loses nothing passes the criterion on melanoma with {melanomas} melanomas. The tables give the
chances in between. [Why paired statistics](../explanation/why-paired-statistics.md#pass-fail-undecided) explains the
rule.

Each row is {files} simulated files with a known true loss ({fewer} for balanced accuracy), each with the verdict of the
gate's bounds and rule. In parentheses: 95 % intervals of the simulation. *Gained* is the share of lesions that only the
compressed file gets right. The net loss, in points, is what counts.

## The rule

A lesion counts once, by its first image. It is *lost* if float32 is right and the file wrong, *gained* in the reverse
case.

- The shares lost and gained each get one-sided 95 % Clopper-Pearson bounds. The net loss is their difference; its bound
  adds their distances by squares (Zou and Donner 2008). Without gains, it is exact.
- Balanced accuracy is a mean over classes. Its bounds for weighted counts (Fay and Feuer 1997) allow for a loss that is
  all in the rarest class.
- Flips cannot be gained: Clopper-Pearson's bounds alone.
- Macro AUC and ECE: the paired bootstrap's 95 % interval.

Pass if the upper bound is within the margin, fail if the lower bound is beyond it, else undecided. Images without
labels count for flips alone. There, the baseline's top class decides whether an image is of the most frequent class.

## Recall of melanoma, margin {margins[0]} points

{recall}

**At half the margin, 1,000 melanomas are too few for a chance of 80 % to pass.** It is {power} % even without gains.
The exact test is the most powerful one for a share, so no rule with an error of at most 5 % does better. A chance of
80 % takes {half} melanomas; or, with 1,000, a margin of {widest} points. The margin stays as it is.

## Top-1 flips, margin {margins[1]} points

{flips}

## Balanced accuracy, margin {margins[2]} point

The lesions of seven classes, in the proportions of HAM10000. The loss is the same in every class, or all in the rarest.
Nothing is gained.

{balanced}

Every class counts the same, however few lesions it has. With 7 lesions, one of them moves balanced accuracy by 2
points, twice the margin. A file that loses nothing passes if **every class has {rare} lesions**. For a rarer class, the
gate is undecided and names it. The preset `screening` leaves balanced accuracy out.

## Why this rule

The share of files, in %, that three rules for the recall of melanoma pass. At a net loss of {margins[0]} points, the
margin, it is the error, which must not exceed 5. At half of it, it is the power.

{rules}

- The paired bootstrap passes too many files when few lesions are lost: it knows only the lesions that it saw.
- The exact bound of losses alone is safe but ignores gains. A file that loses and gains alike hardly ever passes.
- Our rule counts both. Without gains, it is the exact bound.

The same for balanced accuracy, margin {margins[2]} point:

{means}

The bootstrap passes far more than 5 %, because the few lesions of a rare class hide its loss.

A file passes only if every criterion passes. So it passes in at most 5 % of cases if its true loss is at the margin of
any criterion, and its chance to pass is lower than each table says. AUC and ECE keep the paired bootstrap. They are not
simulated here.

## Lesions needed

{needed}

By exact calculation, without gains.

## How this page is made

    python -m experiments.gate_power --files {number} --out docs/reports/gate.md

{date}, {cpu}.
"""


def _fewer(files: int) -> int:
    return max(files // 4, 1)


def _recall_rows(files: int) -> Iterator[list[str]]:
    for lesions in LESIONS:
        for part in LOSSES:
            for gain in (0.0, MELANOMA):
                (found,) = simulate(recall_verdict(lesions, part * MELANOMA, gain), files)
                yield [f"{lesions:,}", _points(part * MELANOMA), _points(gain), *_percent(found, files)]


def _flip_rows(files: int) -> Iterator[list[str]]:
    for lesions in LESIONS:
        for part in LOSSES:
            (found,) = simulate(flips_verdict(lesions, part * FLIPS), files)
            yield [f"{lesions:,}", _points(part * FLIPS), *_percent(found, files)]


def _balanced_rows(files: int) -> Iterator[list[str]]:
    for total in LESIONS:
        lesions = _lesions(total)
        for part in LOSSES:
            for where, losses in _placed(part):
                (found,) = simulate(balanced_verdict(lesions, losses, 0.0), _fewer(files))
                own = [f"{total:,}", str(lesions[_RAREST]), _points(part * BALANCED), where]
                yield [*own, *_percent(found, _fewer(files))]


def _mean_rows(files: int) -> Iterator[list[str]]:
    for total in (1000, 5000):
        for where, losses in _placed(1.0):
            lesions = _lesions(total)
            found = simulate(mean_rules(lesions, losses), _fewer(files))
            shares = [_percent(one, _fewer(files))[0] for one in found]
            yield [f"{total:,}", str(lesions[_RAREST]), _points(BALANCED), where, *shares]


def _placed(part: float) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the losses of the classes that make up `part` of the margin: in every class, and in the rarest alone."""
    yield "every class", np.full(len(CLASSES), part * BALANCED)
    if part:
        alone = np.zeros(len(CLASSES))
        alone[_RAREST] = len(CLASSES) * part * BALANCED
        yield "the rarest", alone


def _lesions(total: int) -> Counts:
    return np.array([max(round(total * share), 1) for share in CLASSES])


def _rule_rows(files: int) -> Iterator[list[str]]:
    for lesions in LESIONS:
        for part in (1.0, 0.5):
            for gain in (0.0, MELANOMA):
                found = simulate(rules(lesions, part * MELANOMA, gain), files)
                shares = [_percent(one, files)[0] for one in found]
                yield [f"{lesions:,}", _points(part * MELANOMA), _points(gain), *shares]


def _points(share: float) -> str:
    return f"{100 * share:g}"


def _percent(found: Shares, files: int) -> list[str]:
    cells = []
    for verdict in ("pass", "fail", "undecided"):
        low, high = wilson(round(found[verdict] * files), files)
        cells.append(f"{100 * found[verdict]:.1f} ({100 * low:.1f}-{100 * high:.1f})")
    return cells
