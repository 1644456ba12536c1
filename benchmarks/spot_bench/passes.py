"""One pass of a model over a data set: every image once, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spot_bench.journal import Journal
from spot_bench.manifest import Item, Manifest
from spot_edge.errors import CheckError, DataError, InputError
from spot_edge.look import LOOK, look_of

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier

__all__ = ["Answers", "refuse_many_skipped", "run_over"]

MOST_SKIPPED = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The images of a pass that could be judged, one row each, and those that could not be, and why."""

    kept: tuple[Item, ...] = field(repr=False)
    skipped: tuple[tuple[str, str], ...]
    scores: NDArray[np.float32] = field(repr=False)  # in the model's order, like the logits
    logits: NDArray[np.float32] = field(repr=False)
    embeddings: NDArray[np.float32] | None = field(repr=False)  # where they were asked for
    looks: NDArray[np.float32] | None = field(repr=False)  # with the embeddings: what the pictures look like


def run_over(
    classifier: Classifier,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None = None,
    *,
    embeddings: bool = False,
    journal: Journal | None = None,
    whole: bool = True,
) -> Answers:
    """Run `classifier` over every image, one at a time: what grows with their number is these few numbers of each.

    What `journal` has already is not run again; `progress(done, all)` counts the others alone. Where these are not the
    `whole` of the images, whoever has it says whether too many were skipped.
    """
    columns = [label.label for label in classifier.model.spec.labels]
    classes = len(columns)
    features = classifier.model.signature.outputs["embedding"].shape[1]
    width = 2 * classes + (features + len(LOOK) if embeddings else 0)
    numbers = np.zeros((len(manifest.items), width), np.float32)
    answered = np.zeros(len(manifest.items), bool)
    for row, earlier in () if journal is None else journal.earlier(width):
        numbers[row], answered[row] = earlier, True
    skipped: list[tuple[str, str]] = []
    todo = np.flatnonzero(~answered).tolist()
    for done, row in enumerate(todo, 1):
        item = manifest.items[row]
        try:
            prepared = classifier.prepare(item.image)
        except InputError as error:
            skipped.append((manifest.name(item), str(error)))
        else:
            prediction = classifier.judge(prepared)
            by_label = {score.label: score.score for score in prediction.ranked}
            numbers[row, :classes] = [by_label[label] for label in columns]
            numbers[row, classes : 2 * classes] = prediction.evidence.mean(axis=(0, 1), dtype=np.float64)
            if embeddings:
                numbers[row, 2 * classes :] = np.concatenate([prediction.embedding, look_of(prepared.tensor)])
            answered[row] = True
            if journal is not None:
                journal.add(row, numbers[row])
        if progress is not None:
            progress(done, len(todo))
    if whole:
        refuse_many_skipped(skipped, manifest)
    numbers = numbers[answered]
    scores, logits = numbers[:, :classes], numbers[:, classes : 2 * classes]
    _refuse_no_numbers(scores, logits, classifier.model.name)
    kept = tuple(manifest.items[row] for row in np.flatnonzero(answered))
    more = (numbers[:, 2 * classes : -len(LOOK)], numbers[:, -len(LOOK) :]) if embeddings else (None, None)
    return Answers(kept, tuple(skipped), scores, logits, *more)


def refuse_many_skipped(skipped: Sequence[tuple[str, str]], manifest: Manifest) -> None:
    """DataError where more than 1 % of the images were `skipped`."""
    if len(skipped) > MOST_SKIPPED * len(manifest.items):
        raise DataError(
            f"{manifest.origin}: {len(skipped)} of {len(manifest.items)} images "
            f"({100 * len(skipped) / len(manifest.items):.1f} %) cannot be judged, "
            f"first {skipped[0][1]}: mend or remove them"
        )


def _refuse_no_numbers(scores: NDArray[np.float32], logits: NDArray[np.float32], name: str) -> None:
    broken = int((~np.isfinite(scores).all(axis=1) | ~np.isfinite(logits).all(axis=1)).sum())
    if broken:
        raise CheckError(f"{name}: its scores or evidence are not numbers on {broken} of {len(scores)} images")
