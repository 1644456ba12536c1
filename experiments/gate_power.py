"""Simulate the drift gate: how often does it pass, fail or stay undecided, if the true loss is known?

    python -m experiments.gate_power --out docs/reports/gate.md

Files lose, and gain, each lesion at random with known shares: a net loss of 0, half the margin, the margin and twice
the margin. Every simulated file gets its verdict from the bounds and the rule of the gate. The page also compares the
rule with two others, and says by exact calculation how many lesions a file without losses needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from spot_bench.drift.gate import Margins, verdict_of
from spot_bench.report.tables import markdown
from spot_bench.speed.conditions import describe_machine
from spot_bench.stats.exact import ALPHA, binomial_lower, binomial_upper, net_loss
from spot_bench.stats.intervals import wilson
from spot_edge.files import write_file
from spot_edge.model.spec import Verdict

__all__ = ["Shares", "lesions_for_power", "page", "simulate"]

LESIONS = (100, 250, 1000, 5000)
LOSSES = (0.0, 0.5, 1.0, 2.0)  # of the margin
CLASSES = (0.033, 0.051, 0.110, 0.012, 0.111, 0.670, 0.013)  # HAM10000's classes: shares of the lesions
_RAREST = int(np.argmin(CLASSES))
_FILES = 4000
_MARGINS = Margins()
_MELANOMA, _FLIPS, _BALANCED = 0.015, 1 - _MARGINS.agreement, _MARGINS.balanced_accuracy

Counts = NDArray[np.int64]


class Shares(dict[str, float]):
    """The shares of the three verdicts."""


def simulate(draw: Callable[[np.random.Generator], tuple[str, ...]], files: int, seed: int = 0) -> list[Shares]:
    """Return the shares of verdicts of each criterion whose verdicts `draw` returns for one simulated file."""
    random = np.random.default_rng(seed)
    found = [draw(random) for _ in range(files)]
    return [
        Shares({verdict: column.count(verdict) / files for verdict in ("pass", "fail", "undecided")})
        for column in zip(*found, strict=True)
    ]


def recall_verdict(lesions: int, loss: float, gain: float) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files that lose `loss` + `gain` of the melanomas and gain `gain`."""

    def draw(random: np.random.Generator) -> tuple[str, ...]:
        lost, gained, _ = random.multinomial(lesions, [loss + gain, gain, 1 - loss - 2 * gain])
        return (_recall(int(lost), int(gained), lesions),)

    return draw


def flips_verdict(lesions: int, share: float) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files that flip `share` of the lesions."""
    return lambda random: (_flips(int(random.binomial(lesions, share)), lesions),)


def balanced_verdict(
    lesions: Counts, losses: NDArray[np.float64], gain: float
) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files that lose the shares `losses` of the classes net, and gain `gain` everywhere."""

    def draw(random: np.random.Generator) -> tuple[str, ...]:
        counts = np.array(
            [
                random.multinomial(n, [p + gain, gain, 1 - p - 2 * gain])[:2]
                for n, p in zip(lesions, losses, strict=True)
            ]
        )
        return (_balanced(tuple(counts[:, 0].tolist()), tuple(counts[:, 1].tolist()), tuple(lesions.tolist())),)

    return draw


@cache
def _recall(lost: int, gained: int, lesions: int) -> Verdict:
    found = net_loss(*(np.array([count]) for count in (lost, gained, lesions)))
    return verdict_of(found.low, found.high, _MELANOMA)


@cache
def _flips(flipped: int, lesions: int) -> Verdict:
    return verdict_of(binomial_lower(flipped, lesions), binomial_upper(flipped, lesions), _FLIPS)


@cache
def _balanced(lost: tuple[int, ...], gained: tuple[int, ...], lesions: tuple[int, ...]) -> Verdict:
    found = net_loss(*(np.array(counts) for counts in (lost, gained, lesions)))
    return verdict_of(found.low, found.high, _BALANCED)


@cache
def _loss_alone(lost: int, gained: int, lesions: int) -> bool:
    """Another rule: the exact bound of the share lost, which ignores gains."""
    return binomial_upper(lost, lesions) <= _MELANOMA


@cache
def _bootstrap(lost: int, gained: int, lesions: int) -> bool:
    """Another rule: the upper end of the paired bootstrap's 95 % interval; Wilson's if it does not vary."""
    if not lost + gained:
        return wilson(0, lesions)[1] <= _MELANOMA
    shares = [lost / lesions, gained / lesions, 1 - (lost + gained) / lesions]
    drawn = np.random.default_rng(0).multinomial(lesions, shares, 2000)
    return float(np.percentile(drawn[:, 0] - drawn[:, 1], 97.5)) / lesions <= _MELANOMA


def _rules(lesions: int, loss: float, gain: float) -> Callable[[np.random.Generator], tuple[str, ...]]:
    def draw(random: np.random.Generator) -> tuple[str, ...]:
        lost, gained, _ = map(int, random.multinomial(lesions, [loss + gain, gain, 1 - loss - 2 * gain]))
        passes = (
            _recall(lost, gained, lesions) == "pass",
            _loss_alone(lost, gained, lesions),
            _bootstrap(lost, gained, lesions),
        )
        return tuple("pass" if found else "undecided" for found in passes)

    return draw


def _mean_rules(lesions: Counts, losses: NDArray[np.float64]) -> Callable[[np.random.Generator], tuple[str, ...]]:
    """Draw files without gains; the verdicts of the gate and of the paired bootstrap on balanced accuracy."""

    def draw(random: np.random.Generator) -> tuple[str, ...]:
        lost = random.binomial(lesions, losses)
        nothing = (0,) * len(lesions)
        ours = _balanced(tuple(lost.tolist()), nothing, tuple(lesions.tolist()))
        drawn = random.binomial(lesions, lost / lesions, (1000, len(lesions))) / lesions
        high = np.percentile(drawn.mean(axis=1), 97.5)
        return ours, "pass" if high <= _BALANCED else "undecided"

    return draw


def lesions_for_power(margin: float, share: float, power: float = 0.8) -> int:
    """Return the fewest lesions at which a file that loses `share` and gains nothing passes with `power`.

    The exact test is the most powerful one for a share, so that no rule with an error of 5 % needs fewer.
    """
    low, high = 1, 2
    while _power(high, margin, share) < power:
        low, high = high, 2 * high
    while high - low > 1:  # power rises with the lesions, but for steps of about 1 %
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, margin, share) >= power else (middle, high)
    return high


def _power(lesions: int, margin: float, share: float) -> float:
    most = -1  # lost lesions with which a file passes
    while binomial_upper(most + 1, lesions) <= margin:
        most += 1
    return _at_most(most, lesions, share)


def _at_most(k: int, n: int, share: float) -> float:
    if k < 0:
        return 0.0
    chosen = math.lgamma(n + 1)
    logs = [
        chosen - math.lgamma(j + 1) - math.lgamma(n - j + 1) + j * math.log(share) + (n - j) * math.log1p(-share)
        for j in range(k + 1)
    ]
    return math.fsum(map(math.exp, logs))


def without_loss(margin: float) -> int:
    """Return the fewest lesions of which none is lost if the bound is to be within `margin`."""
    return math.ceil(math.log(ALPHA) / math.log1p(-margin))


def page(files: int = _FILES) -> str:
    """Return the report as Markdown."""
    half, widest = lesions_for_power(_MELANOMA, _MELANOMA / 2), _margin_for_power(1000)
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
        melanomas=without_loss(_MELANOMA),
        power=f"{100 * _power(1000, _MELANOMA, _MELANOMA / 2):.0f}",
        half=f"{half:,}",
        widest=_points(widest),
        rare=math.ceil(-math.log(ALPHA) / (len(CLASSES) * _BALANCED)),
        margins=[_points(margin) for margin in (_MELANOMA, _FLIPS, _BALANCED)],
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


def _margin_for_power(lesions: int) -> float:
    """Return the smallest margin, in tenths of a point, that a file with half of it as its loss passes with 80 %."""
    return next(m / 1000 for m in range(1, 1000) if _power(lesions, m / 1000, m / 2000) >= 0.8)


def _recall_rows(files: int) -> Iterator[list[str]]:
    for lesions in LESIONS:
        for part in LOSSES:
            for gain in (0.0, _MELANOMA):
                (found,) = simulate(recall_verdict(lesions, part * _MELANOMA, gain), files)
                yield [f"{lesions:,}", _points(part * _MELANOMA), _points(gain), *_percent(found, files)]


def _flip_rows(files: int) -> Iterator[list[str]]:
    for lesions in LESIONS:
        for part in LOSSES:
            (found,) = simulate(flips_verdict(lesions, part * _FLIPS), files)
            yield [f"{lesions:,}", _points(part * _FLIPS), *_percent(found, files)]


def _balanced_rows(files: int) -> Iterator[list[str]]:
    for total in LESIONS:
        lesions = _lesions(total)
        for part in LOSSES:
            for where, losses in _placed(part):
                (found,) = simulate(balanced_verdict(lesions, losses, 0.0), _fewer(files))
                own = [f"{total:,}", str(lesions[_RAREST]), _points(part * _BALANCED), where]
                yield [*own, *_percent(found, _fewer(files))]


def _mean_rows(files: int) -> Iterator[list[str]]:
    for total in (1000, 5000):
        for where, losses in _placed(1.0):
            lesions = _lesions(total)
            found = simulate(_mean_rules(lesions, losses), _fewer(files))
            shares = [_percent(one, _fewer(files))[0] for one in found]
            yield [f"{total:,}", str(lesions[_RAREST]), _points(_BALANCED), where, *shares]


def _placed(part: float) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield the losses of the classes that make up `part` of the margin: in every class, and in the rarest alone."""
    yield "every class", np.full(len(CLASSES), part * _BALANCED)
    if part:
        alone = np.zeros(len(CLASSES))
        alone[_RAREST] = len(CLASSES) * part * _BALANCED
        yield "the rarest", alone


def _lesions(total: int) -> Counts:
    return np.array([max(round(total * share), 1) for share in CLASSES])


def _rule_rows(files: int) -> Iterator[list[str]]:
    for lesions in LESIONS:
        for part in (1.0, 0.5):
            for gain in (0.0, _MELANOMA):
                found = simulate(_rules(lesions, part * _MELANOMA, gain), files)
                shares = [_percent(one, files)[0] for one in found]
                yield [f"{lesions:,}", _points(part * _MELANOMA), _points(gain), *shares]


def _points(share: float) -> str:
    return f"{100 * share:g}"


def _percent(found: Shares, files: int) -> list[str]:
    cells = []
    for verdict in ("pass", "fail", "undecided"):
        low, high = wilson(round(found[verdict] * files), files)
        cells.append(f"{100 * found[verdict]:.1f} ({100 * low:.1f}-{100 * high:.1f})")
    return cells


@click.command()
@click.option("--files", type=click.IntRange(1), default=_FILES, show_default=True, help="Simulated files per row.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Markdown page to write.")
def main(files: int, out: Path) -> None:
    """Simulate the drift gate and write the report."""
    write_file(out, page(files).encode())


if __name__ == "__main__":
    main()
