"""One prediction for a burst: several images of one lesion, taken in quick succession."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spot_edge.image.appearance import APPEARANCE, appearance_of
from spot_edge.prediction.prediction import Prediction, prediction_set_of, rank, triage_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spot_edge.classifier import Classifier
    from spot_edge.image.tensor import Prepared
    from spot_edge.model.spec import ModelSpec

__all__ = ["Burst", "BurstResult", "mean_scores", "predict_burst"]

_SHARPNESS = APPEARANCE.index("sharpness")
_LEAST = 1e-12  # a zero score in one frame must not outweigh all others


class Burst(NamedTuple):
    """How the prediction of a burst was made."""

    frames: int
    averaged: int  # frames that passed the image quality check; the scores are their mean
    agreeing: int  # frames among them whose own top class is the same
    kept: int  # number of the sharpest frame, from 1, which gives source, image, evidence and embedding


class BurstResult(NamedTuple):
    """The prediction of a burst, and its sharpest frame."""

    kept: Prepared
    number: int  # of that frame, from 1
    prediction: Prediction


def predict_burst(classifier: Classifier, frames: Iterable[Prepared]) -> BurstResult | None:
    """Do the work of `Classifier.predict_burst`. None for no frames. Holds two frames at a time in memory."""
    usable: list[Prediction] = []
    times: dict[str, float] = {}
    best: BurstResult | None = None
    best_yet = (False, 0.0)
    number = 0
    for number, prepared in enumerate(frames, 1):
        prediction = classifier.predict(prepared)
        times = {step: times.get(step, 0.0) + spent for step, spent in prediction.timings_ms.items()}
        sharpness = (not prediction.quality, float(appearance_of(prepared.tensor)[_SHARPNESS]))
        if best is None or sharpness > best_yet:
            best, best_yet = BurstResult(prepared, number, prediction), sharpness
        if not prediction.quality:
            usable.append(prediction)
    if best is None:
        return None
    merged = _averaged(classifier.model.spec, best.prediction, usable) if usable else best.prediction
    agreeing = sum(each.top.label == merged.top.label for each in usable)
    burst = Burst(frames=number, averaged=len(usable), agreeing=agreeing, kept=best.number)
    notes = (*merged.notes, *_notes(burst))
    return best._replace(prediction=replace(merged, burst=burst, notes=notes, timings_ms=times))


def mean_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The geometric mean of scores [frames, classes], scaled to sum to one: what the mean of the logits would give.

    On simulated captures of validation images, the arithmetic mean was neither steadier nor better calibrated, and the
    mean of the sharper half was less steady than that of all frames.
    """
    products = np.exp(np.log(np.maximum(scores.astype(np.float64), _LEAST)).mean(axis=0))
    return np.asarray(products / products.sum(), np.float32)


def _averaged(spec: ModelSpec, best: Prediction, usable: Sequence[Prediction]) -> Prediction:
    """`best` with the mean scores of all `usable` frames, and the triage and prediction set that follow."""
    by_label = [{each.label: each.score for each in prediction.ranked} for prediction in usable]
    scores = mean_scores(np.array([[own[label] for label in best.labels] for own in by_label], np.float32))
    ranked = rank(spec.labels, scores)
    return replace(best, ranked=ranked, triage=triage_of(spec, scores), prediction_set=prediction_set_of(spec, ranked))


def _notes(burst: Burst) -> tuple[str, ...]:
    if burst.frames == 1:
        return ()
    kept = f"image {burst.kept} is the sharpest and is kept"
    if not burst.averaged:
        return (f"none of the {burst.frames} images passes the image quality check; {kept}",)
    share = f"{burst.frames}" if burst.averaged == burst.frames else f"{burst.averaged} of {burst.frames}"
    return (
        f"scores are the mean of {share} images, {burst.agreeing} of which have this top class; {kept}",
        "this model's figures were measured on single images",
    )
