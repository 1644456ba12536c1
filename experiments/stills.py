"""Measure what decoding large JPEGs at a reduced size changes and saves: `python -m experiments.stills`.

Images of a data set (validation and calibration splits) become stills of 12 megapixels, two of each image with
different sensor grain. The embedded model classifies each still twice: decoded at full size, and with the geometry
"stretch-reduced-jpeg". The yardstick is the other still of the same image, decoded at full size: what a second picture
changes by its noise alone. Drift is evaluated as `bench drift` does, by the converter's margins.
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
from spot_bench.data.predictions import Predictions, describe_model
from spot_bench.data.splits import balanced_sample
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift
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
    """The prediction for one still decoded in one way, and the processor time from its bytes to the prediction."""

    scores: np.ndarray
    logits: np.ndarray
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
def main(data: Path, root: Path | None, images: int | None) -> None:
    """Compare predictions for 12-megapixel stills, decoded at full and at reduced size."""
    items = [item for item in read_manifest(data, root=root).items if item.split in PARTS]
    items = items if images is None else balanced_sample(items, images)
    full = Classifier.load(threads=1)
    spec = full.model.spec
    spec = spec._replace(image=spec.image._replace(geometry=REDUCED))
    small = Classifier(replace(full.model, spec=spec), threads=1)
    answers: dict[str, list[Answer]] = defaultdict(list)
    with progress_bar("stills", len(items)) as step:
        for number, item in enumerate(items):
            enlarged = full.prepare(item.image).image.resize(STILL, Image.Resampling.BICUBIC)
            for grain, names in enumerate(((FULL, SMALL), (OTHER, OTHER_SMALL))):
                still = large_still(enlarged, 2 * number + grain)
                for name, classifier in zip(names, (full, small), strict=True):
                    answers[name].append(_classify(classifier, still))
            step(1)
    click.echo("\n".join(_lines(full, items, answers)))


def _classify(classifier: Classifier, still: bytes) -> Answer:
    start = time.thread_time()
    prediction = classifier.classify(still)
    spent = 1e3 * (time.thread_time() - start)
    scores = {each.label: each.score for each in prediction.ranked}
    return Answer(
        np.array([scores[label] for label in prediction.labels], np.float32),
        prediction.evidence.mean(axis=(0, 1)),
        spent,
    )


def _lines(classifier: Classifier, items: Sequence[Item], answers: dict[str, list[Answer]]) -> Iterator[str]:
    """What reducing changes and saves, whether it flips more than other grain does, and the gate's criteria."""
    known = {name: _predictions(classifier, items, each) for name, each in answers.items()}
    pairs = {
        SMALL: (known[FULL], known[SMALL]),
        OTHER_SMALL: (known[OTHER], known[OTHER_SMALL]),
        OTHER: (known[FULL], known[OTHER]),
    }
    groups = known[FULL].groups
    model = classifier.model.spec
    yield f"{model.name} {model.variant}, {len(items)} images of {len(np.unique(groups))} lesions, two stills of each"
    yield ""
    rows = [["decoded", "flips, %", "mean |Δ score|", "largest", "processor time, of full size"]]
    for name, (baseline, other) in pairs.items():
        moved = np.abs(other.scores - baseline.scores)
        base = FULL if baseline is known[FULL] else OTHER
        spent = ratio_of_medians(_times(answers[name]), _times(answers[base]))
        flips = bootstrap(np.mean, groups, _flips(baseline, other))
        rows.append([name, _percent(flips), f"{moved.mean():.4f}", f"{moved.max():.3f}", figure(spent.as_dict())])
    yield from align(rows)
    yield f"full size: {np.median(_times(answers[FULL])):.1f} ms; reduced: {np.median(_times(answers[SMALL])):.1f} ms"
    yield ""
    yield _non_inferiority(groups, *(_flips(*pairs[name]) for name in (SMALL, OTHER_SMALL, OTHER)))
    yield ""
    rows = [["decoded", "worse by, points", "margin", ""]]
    for name, (baseline, other) in pairs.items():
        drift = evaluate_drift(compare(baseline, other), Margins(), measured_on="")
        rows.append([name, "", "", drift.verdict.upper()])
        for criterion in drift.criteria:
            worse, low, high = (100 * value for value in (criterion.worse_by, criterion.low, criterion.high))
            change, margin = f"{worse:+.1f} ({low:+.1f} to {high:+.1f})", f"{100 * criterion.margin:.1f}"
            rows.append([f"  {criterion.name}", change, margin, criterion.verdict])
    yield from align(rows)


def _non_inferiority(groups: np.ndarray, first: np.ndarray, second: np.ndarray, grain: np.ndarray) -> str:
    """Compare the flips by reducing, the mean of both stills, with those by other grain, image by image."""
    difference = (first + second) / 2 - grain
    more = bootstrap(np.mean, groups, difference)
    high = more.high if difference.any() else 3 / len(np.unique(groups))  # the rule of three
    verdict = "non-inferior" if high < MARGIN else "inferior" if more.low > MARGIN else "undecided"
    return f"flips by reducing minus flips by grain, points: {_percent(more)}, margin {100 * MARGIN:.1f}: {verdict}"


def _flips(baseline: Predictions, other: Predictions) -> np.ndarray:
    return np.asarray(baseline.scores.argmax(1) != other.scores.argmax(1), float)


def _percent(estimate: Estimate) -> str:
    value, low, high = (100 * each for each in (estimate.value, estimate.low, estimate.high))
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def _predictions(classifier: Classifier, items: Sequence[Item], answers: Sequence[Answer]) -> Predictions:
    labels = classifier.model.spec.labels
    columns = [label.label for label in labels]
    return Predictions(
        labels=tuple(columns),
        truth=np.array([columns.index(item.label) for item in items]),
        scores=np.array([answer.scores for answer in answers]),
        logits=np.array([answer.logits for answer in answers]),
        groups=np.array([item.group for item in items]),
        images=np.array([item.image.name for item in items]),
        model=describe_model(classifier),
        malignant=tuple(label.malignant for label in labels),
    )


def _times(answers: Sequence[Answer]) -> np.ndarray:
    return np.array([answer.milliseconds for answer in answers])


if __name__ == "__main__":
    main()
