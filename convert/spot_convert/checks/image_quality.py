"""Fit the image quality check: what is out-of-distribution, and the limit of every measurement.

`embedding.npz` in a model file describes the training images in few numbers. It holds the mean embedding of each class
and a low-rank covariance around these means: some axes with their variances, and one variance for all other directions.
It also holds mean and covariance of the images' appearance (`spot_edge.image.appearance`), and how large both distances
usually are. The limits are quantiles of validation, so that few good images are rejected.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.stats.intervals import proportion
from spot_edge.image.appearance import APPEARANCE, OOD_FEATURES
from spot_edge.image.quality import CHECKS, OOD, findings
from spot_edge.model.spec import QualityLimits, Rate
from spot_edge.prediction.ood import OodReference

__all__ = ["AXES", "choose_limits", "fit_ood_reference", "ood_distances", "ood_member"]

AXES = 8
MAX_MEMBER_BYTES = 64_000
MIN_VALIDATION = 200  # images; the extremes of fewer say little about what is still a good image
REJECTED = {  # share of the validation images that each limit rejects
    "sharpness": 0.002,
    "light": 0.001,
    "white": 0.004,
    "black": 0.001,
    "contrast": 0.001,
    OOD: 0.008,
}
_RIDGE = 1e-5  # added to the variances of appearance: some are nearly zero in drawn images


def fit_ood_reference(training: Predictions, validation: Predictions, classes: int) -> OodReference:
    """Fit the distances on `training`, and their usual size on `validation`.

    The mean of a class without images is NaN. Half precision keeps 1,280 features of seven classes below 40 kB.
    """
    assert training.embeddings is not None
    assert training.appearance is not None
    values, truth = training.embeddings.astype(np.float64), training.truth
    counts = np.bincount(truth, minlength=classes)
    means = np.full((classes, values.shape[1]), np.nan)
    for index in np.flatnonzero(counts):
        means[index] = values[truth == index].mean(axis=0)
    _, spread, axes = np.linalg.svd(values - means[truth], full_matrices=False)
    freedom = max(1, len(values) - int((counts > 0).sum()))
    variances = spread**2 / freedom
    kept = min(AXES, len(variances))
    kept = max(1, min(kept, MAX_MEMBER_BYTES // (2 * values.shape[1]) - classes - 1))
    # The sign of an axis is arbitrary. Fix it, so that it does not depend on the installed linear algebra library.
    signs = np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])
    appearance = training.appearance[:, OOD_FEATURES].astype(np.float64)
    covariance = np.cov(appearance.T) + _RIDGE * np.eye(appearance.shape[1])
    reference = OodReference(
        means=_half(means),
        axes=_half(axes[:kept] * signs[:, None]),
        variances=variances[:kept].astype(np.float32),
        rest=float(np.float32(variances[kept:].sum() / max(1, values.shape[1] - kept))),
        look_mean=appearance.mean(axis=0).astype(np.float32),
        look_whitening=np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32),
        usual=np.array([[0, 1], [0, 1]], np.float32),
    )
    distances = np.log(np.maximum(_distances(reference, validation), 1e-9))
    usual = np.stack([distances.mean(axis=0), np.maximum(distances.std(axis=0), 1e-3)], axis=1)
    return reference._replace(usual=usual.astype(np.float32))


def ood_distances(reference: OodReference, predictions: Predictions) -> NDArray[np.float64]:
    """Return the out-of-distribution distance of each image, as the device computes it."""
    assert predictions.appearance is not None
    assert predictions.embeddings is not None
    pairs = zip(predictions.appearance, predictions.embeddings, strict=True)
    return np.array([reference.ood_distance(appearance, embedding) for appearance, embedding in pairs])


def ood_member(reference: OodReference) -> bytes:
    """Return the bytes of `embedding.npz`; the same numbers give the same bytes."""
    halves = {key: getattr(reference, key).astype(np.float16) for key in ("means", "axes")}
    return _npz(**(reference._asdict() | halves | {"rest": np.float32(reference.rest)}))


def choose_limits(
    reference: OodReference, validation: Predictions, measured: Predictions, measured_on: str
) -> QualityLimits | None:
    """Choose the limit of each check on `validation`, and measure what share of `measured` they reject together.

    Return None if there are fewer than MIN_VALIDATION validation images.
    """
    if len(validation.truth) < MIN_VALIDATION:
        return None
    values = _measurements(reference, validation)
    limits = {
        check.name: float(
            np.quantile(values[check.name], REJECTED[check.name], method="lower")
            if check.least
            else np.quantile(values[check.name], 1 - REJECTED[check.name], method="higher")
        )
        for check in CHECKS
    }
    columns = _measurements(reference, measured)
    images = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    rejected = np.array([bool(findings(image, limits)) for image in images])
    estimate = proportion(rejected, measured.groups)
    return QualityLimits(limits, Rate(estimate.value, estimate.low, estimate.high, estimate.groups), measured_on)


def _measurements(reference: OodReference, predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    """Return what every check measures, one number per image."""
    assert predictions.appearance is not None
    values = dict(zip(APPEARANCE, predictions.appearance.T.astype(np.float64), strict=True))
    return values | {OOD: ood_distances(reference, predictions)}


def _distances(reference: OodReference, predictions: Predictions) -> NDArray[np.float64]:
    assert predictions.appearance is not None
    assert predictions.embeddings is not None
    pairs = zip(predictions.appearance, predictions.embeddings, strict=True)
    return np.array([reference.distances(appearance, embedding) for appearance, embedding in pairs])


def _half(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to half precision, as a reader will see the values."""
    return values.astype(np.float16).astype(np.float32)


def _npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # dated 1980, so the same numbers give the same bytes
    return content.getvalue()
