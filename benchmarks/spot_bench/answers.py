"""The answers that drift compares: of a model that is run now, or kept from an earlier run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from spot_bench.predict import Predictions, load_predictions, save_predictions

__all__ = ["answers_of", "is_kept", "keep_answers"]


def is_kept(file: Path) -> bool:
    """Whether `file` holds predictions rather than a model."""
    return file.suffix == ".npz"


def answers_of(file: Path, run: Callable[[Path], Predictions]) -> Predictions:
    """The predictions that `file` holds, or else those that `run` makes with the model in it."""
    return load_predictions(file) if is_kept(file) else run(file)


def keep_answers(answers: Sequence[Predictions], folder: Path) -> None:
    """Write each as predictions-<number>-<variant>.npz in `folder`; the baseline comes first and has number 0."""
    for number, predictions in enumerate(answers):
        variant = re.sub(r"[^A-Za-z0-9.-]+", "-", predictions.model.get("variant", "")) or "model"
        save_predictions(predictions, folder / f"predictions-{number}-{variant}.npz")
