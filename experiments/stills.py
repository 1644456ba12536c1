"""Measure what decoding large JPEGs at a reduced size changes and saves: `python -m experiments.stills`.

Images of a data set (validation and calibration splits) become stills of 12 megapixels, two of each image with
different sensor grain. The embedded model classifies each still twice: decoded at full size, and with the geometry
"stretch-reduced-jpeg". The yardstick is the other still of the same image, decoded at full size: what a second picture
changes by its noise alone. Only images whose two highest scores are close can flip, so only these become stills.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
from PIL import Image

from spot_bench.data.drawn.canvas import STILL, large_still
from spot_bench.data.manifest import Item, read_manifest
from spot_bench.data.splits import balanced_sample
from spot_bench.report.tables import align, figure
from spot_bench.run.progress import progress_bar
from spot_bench.stats.intervals import Estimate, bootstrap, ratio_of_medians
from spot_edge.classifier import Classifier
from spot_edge.model.spec import Geometry

PARTS = ("val", "calibrate")
REDUCED: Geometry = "stretch-reduced-jpeg"
MARGIN = 0.01  # share of images that reducing may flip beyond what other grain flips
FULL, SMALL, OTHER, OTHER_SMALL = "full size", "reduced", "other grain", "reduced, other grain"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The scores of one still decoded in one way, and the processor time from its bytes to the prediction."""

    scores: np.ndarray
    milliseconds: float


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="CSV manifest of images with aspect ratio 4:3."
)
@click.option(
    "--root", type=click.Path(path_type=Path), help="Folder that image paths are relative to [default: the manifest's]."
)
@click.option(
    "--images", type=click.IntRange(1), help="Use a sample of this size, balanced over classes [default: all images]."
)
@click.option(
    "--closer-than",
    "closest",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Make stills only of images whose two highest scores differ by less. The others count as not flipped.",
)
def main(data: Path, root: Path | None, images: int | None, closest: float) -> None:
    """Compare predictions for 12-megapixel stills, decoded at full and at reduced size."""
    items = [item for item in read_manifest(data, root=root).items if item.split in PARTS]
    items = items if images is None else balanced_sample(items, images)
    full = Classifier.load(threads=1)
    spec = full.model.spec
    spec = spec._replace(image=spec.image._replace(geometry=REDUCED))
    small = Classifier(replace(full.model, spec=spec), threads=1)
    plain = [full.classify(item.image).ranked for item in items]
    chosen = np.array([ranked[0].score - ranked[1].score < closest for ranked in plain])
    answers: dict[str, list[Answer]] = defaultdict(list)
    with progress_bar("stills", int(chosen.sum())) as step:
        for number in np.flatnonzero(chosen).tolist():
            enlarged = full.prepare(items[number].image).image.resize(STILL, Image.Resampling.BICUBIC)
            for grain, names in enumerate(((FULL, SMALL), (OTHER, OTHER_SMALL))):
                still = large_still(enlarged, 2 * number + grain)
                for name, classifier in zip(names, (full, small), strict=True):
                    answers[name].append(_classify(classifier, still))
            step(1)
    click.echo("\n".join(_lines(full, items, chosen, answers)))


def _classify(classifier: Classifier, still: bytes) -> Answer:
    start = time.thread_time()
    prediction = classifier.classify(still)
    spent = 1e3 * (time.thread_time() - start)
    scores = {each.label: each.score for each in prediction.ranked}
    return Answer(np.array([scores[label] for label in prediction.labels]), spent)


def _lines(
    classifier: Classifier, items: Sequence[Item], chosen: np.ndarray, answers: dict[str, list[Answer]]
) -> Iterator[str]:
    """What reducing changes and saves, and whether it flips more than other grain does."""
    scores = {name: np.array([answer.scores for answer in each]) for name, each in answers.items()}
    times = {name: np.array([answer.milliseconds for answer in each]) for name, each in answers.items()}
    groups = np.array([item.group for item in items])
    model = classifier.model.spec
    yield f"{model.name} {model.variant}, {len(items)} images of {len(np.unique(groups))} lesions"
    yield f"two stills of each of the {int(chosen.sum())} images that may flip"
    yield ""
    rows = [["decoded", "flips, % of all", "mean |Δ score|", "largest", "processor time, of full size"]]
    flips = {}
    for name, base in ((SMALL, FULL), (OTHER_SMALL, OTHER), (OTHER, FULL)):
        moved = np.abs(scores[name] - scores[base])
        flips[name] = np.zeros(len(items))
        flips[name][chosen] = scores[name].argmax(1) != scores[base].argmax(1)
        spent = ratio_of_medians(times[name], times[base])
        share = _percent(bootstrap(np.mean, groups, flips[name]))
        rows.append([name, share, f"{moved.mean():.4f}", f"{moved.max():.3f}", figure(spent.as_dict())])
    yield from align(rows)
    yield f"full size: {np.median(times[FULL]):.1f} ms; reduced: {np.median(times[SMALL]):.1f} ms"
    yield ""
    yield _non_inferiority(groups, (flips[SMALL] + flips[OTHER_SMALL]) / 2 - flips[OTHER])


def _non_inferiority(groups: np.ndarray, difference: np.ndarray) -> str:
    """Compare the flips by reducing, the mean of both stills, with those by other grain, image by image."""
    more = bootstrap(np.mean, groups, difference)
    high = more.high if difference.any() else 3 / len(np.unique(groups))  # the rule of three
    verdict = "non-inferior" if high < MARGIN else "inferior" if more.low > MARGIN else "undecided"
    return f"flips by reducing minus flips by grain, points: {_percent(more)}, margin {100 * MARGIN:.1f}: {verdict}"


def _percent(estimate: Estimate) -> str:
    value, low, high = (100 * each for each in (estimate.value, estimate.low, estimate.high))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
