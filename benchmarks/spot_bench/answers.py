"""The answers that drift compares: of a model that is run now, or kept from an earlier run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spot_bench.manifest import Manifest
from spot_bench.predict import Predictions, predict, predict_into, save_predictions
from spot_edge.errors import DataError

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier

__all__ = ["is_kept", "keep_answers", "refuse_other_labels", "run_model"]


def is_kept(file: Path) -> bool:
    """Whether `file` holds predictions rather than a model."""
    return file.suffix == ".npz"


def refuse_other_labels(files: Sequence[Path], labels: Sequence[Sequence[str]]) -> None:
    """DataError, before any of them is run, where a file knows other labels than the first: the baseline."""
    for file, own in zip(files, labels, strict=True):
        if sorted(own) != sorted(labels[0]):
            raise DataError(
                f"{file} knows the labels {', '.join(own)}, but {files[0]} {', '.join(labels[0])}: "
                "they cannot be compared"
            )


def keep_answers(answers: Predictions, folder: Path | None, number: int) -> Predictions:
    """Earlier answers, copied into `folder` where one is named; the baseline has number 0."""
    if folder is not None:
        save_predictions(answers, _place(folder, number, answers.model.get("variant", "")))
    return answers


def run_model(
    classifier: Classifier,
    images: Manifest,
    progress: Callable[[int, int], None],
    folder: Path | None,
    number: int,
    *,
    resume: bool = False,
) -> Predictions:
    """The model's answers, kept in `folder` as they come where one is named; `resume` goes on from what is there."""
    if folder is None:
        return predict(classifier, images, progress)
    file = _place(folder, number, classifier.model.spec.variant)
    return predict_into(file, classifier, images, progress, resume=resume)


def _place(folder: Path, number: int, variant: str) -> Path:
    return folder / f"predictions-{number}-{re.sub(r'[^A-Za-z0-9.-]+', '-', variant) or 'model'}.npz"
