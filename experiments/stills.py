"""Measure what decoding large JPEGs at a reduced size changes and saves: `python -m experiments.stills`.

Images of a data set (its test part left alone) as stills of 12 megapixels, each decoded whole and, by the JPEG decoder
itself, to a half, a quarter and an eighth of its sides. The embedded model's answers are compared as `bench drift`
compares two models, by the converter's margins. To measure those changes by: the same still whole, with other grain.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image

from spot_bench.data.drawn.canvas import large_still
from spot_bench.data.manifest import Item, read_manifest
from spot_bench.data.predictions import Predictions, describe_model
from spot_bench.data.splits import balanced_sample
from spot_bench.drift.comparison import compare
from spot_bench.drift.gate import Margins, evaluate_drift
from spot_bench.report.tables import align, figure
from spot_bench.run.progress import progress_bar
from spot_bench.stats.intervals import ratio_of_medians
from spot_edge.classifier import Classifier
from spot_edge.image.tensor import to_tensor
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.spec import ImageSpec

PARTS = ("val", "calibrate")
SCALES = (2, 4, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The prediction for one still decoded in one way, and the milliseconds of decoding and resizing."""

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
    classifier = Classifier.load()
    interpreter, spec = Interpreter(classifier.model), classifier.model.spec.image
    answers: dict[str, list[Answer]] = defaultdict(list)
    with progress_bar("stills", len(items)) as step:
        for number, item in enumerate(items):
            picture = classifier.prepare(item.image).image
            still, other = large_still(picture, 2 * number), large_still(picture, 2 * number + 1)
            ways = {
                "whole": (still, 1),
                **{f"1/{scale}": (still, scale) for scale in SCALES},
                "other grain": (other, 1),
            }
            for name, (jpeg, scale) in ways.items():
                answers[name].append(_answer(interpreter, spec, jpeg, scale))
            step(1)
    click.echo("\n".join(_lines(classifier, items, answers)))


def _answer(interpreter: Interpreter, spec: ImageSpec, jpeg: bytes, scale: int) -> Answer:
    start = time.perf_counter()
    tensor, _ = to_tensor(_decode(jpeg, scale), spec)
    spent = 1e3 * (time.perf_counter() - start)
    outputs = interpreter.invoke(tensor)
    return Answer(outputs["scores"], outputs["evidence"].mean(axis=(0, 1)), spent)


def _decode(jpeg: bytes, scale: int) -> Image.Image:
    """The image at 1/`scale` of its size, decoded directly from the DCT coefficients."""
    image = Image.open(io.BytesIO(jpeg))
    size = image.width // scale, image.height // scale
    if scale > 1:
        image.draft("RGB", size)
    image.load()
    if image.size != size:  # draft silently picks the nearest supported size
        raise AssertionError(f"asked for {size}, decoded to {image.size}")
    return image


def _lines(classifier: Classifier, items: Sequence[Item], answers: dict[str, list[Answer]]) -> Iterator[str]:
    """What changed, what it saves, and each criterion of the gate, for every reduced size."""
    baseline = _predictions(classifier, items, answers["whole"])
    found = {}
    for name in [name for name in answers if name != "whole"]:
        other = _predictions(classifier, items, answers[name])
        found[name] = (compare(baseline, other), np.abs(other.scores - baseline.scores))
    model = classifier.model.spec
    yield f"{model.name} {model.variant}, {len(items)} stills of {len(np.unique(baseline.groups))} lesions"
    yield ""
    rows = [["decoded", "same top class", "mean |Δ score|", "largest", "time, of whole"]]
    for name, (comparison, moved) in found.items():
        spent = ratio_of_medians(_times(answers[name]), _times(answers["whole"]))
        agreement = figure(comparison["agreement"]["all"])
        rows.append([name, agreement, f"{moved.mean():.4f}", f"{moved.max():.3f}", figure(spent.as_dict())])
    yield from align(rows)
    yield ""
    rows = [["decoded", "worse by, points", "margin", ""]]
    for name, (comparison, _) in found.items():
        drift = evaluate_drift(comparison, Margins(), measured_on="")
        rows.append([name, "", "", drift.verdict.upper()])
        for criterion in drift.criteria:
            worse, low, high = (100 * value for value in (criterion.worse_by, criterion.low, criterion.high))
            change, margin = f"{worse:+.1f} ({low:+.1f} to {high:+.1f})", f"{100 * criterion.margin:.1f}"
            rows.append([f"  {criterion.name}", change, margin, criterion.verdict])
    yield from align(rows)


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
