"""Where training's pictures lie, in few numbers: what the device later measures a picture's distance with.

`embedding.npz` in a model file holds the mean of each class in the network's embedding, and a low-rank shape of how
the images scatter around the means: some axes with their variances, and one variance for all that is left. Beside
it the same for what pictures look like (`spot_edge.image.appearance`), whole, and how large both distances usually are.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_edge.image.appearance import OOD_FEATURES
from spot_edge.prediction.ood import OodReference

__all__ = ["AXES", "fit_ood_reference", "member", "ood_distances"]

AXES = 8
LARGEST = 64_000
_RIDGE = 1e-5  # added to the variances of looks, of which some are next to nothing in drawn pictures


def fit_ood_reference(training: Predictions, validation: Predictions, classes: int) -> OodReference:
    """The distances that `training` defines, and their usual size on `validation`.

    A class without images has a mean of NaN. Half precision keeps 1,280 features of seven classes below 40 kB.
    """
    assert training.embeddings is not None
    assert training.appearance is not None
    values, truth = training.embeddings.astype(np.float64), training.truth
    counts = np.bincount(truth, minlength=classes)
    means = np.full((classes, values.shape[1]), np.nan)
    for index in np.flatnonzero(counts):
        means[index] = values[truth == index].mean(axis=0)
    apart = values - means[truth]
    _, spread, axes = np.linalg.svd(apart, full_matrices=False)
    freedom = max(1, len(values) - int((counts > 0).sum()))
    variances = spread**2 / freedom
    kept = min(AXES, len(variances))
    kept = max(1, min(kept, LARGEST // (2 * values.shape[1]) - classes - 1))
    # An axis may point either way; which, must not depend on the linear algebra that is installed.
    signs = np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])
    looks = training.appearance[:, OOD_FEATURES].astype(np.float64)
    scatter = np.cov(looks.T) + _RIDGE * np.eye(looks.shape[1])
    found = OodReference(
        means=_half(means),
        axes=_half(axes[:kept] * signs[:, None]),
        variances=variances[:kept].astype(np.float32),
        rest=float(np.float32(variances[kept:].sum() / max(1, values.shape[1] - kept))),
        look_mean=looks.mean(axis=0).astype(np.float32),
        look_whitening=np.linalg.cholesky(np.linalg.inv(scatter)).astype(np.float32),
        usual=np.array([[0, 1], [0, 1]], np.float32),
    )
    distances = np.log(np.maximum(_distances(found, validation), 1e-9))
    usual = np.stack([distances.mean(axis=0), np.maximum(distances.std(axis=0), 1e-3)], axis=1)
    return found._replace(usual=usual.astype(np.float32))


def ood_distances(ood_reference: OodReference, answers: Predictions) -> NDArray[np.float64]:
    """How unfamiliar each picture is, as the device measures it."""
    assert answers.appearance is not None
    assert answers.embeddings is not None
    pairs = zip(answers.appearance, answers.embeddings, strict=True)
    return np.array([ood_reference.ood_distance(look, embedding) for look, embedding in pairs])


def member(ood_reference: OodReference) -> bytes:
    """The bytes of `embedding.npz`; the same numbers give the same bytes."""
    halves = {key: getattr(ood_reference, key).astype(np.float16) for key in ("means", "axes")}
    return _npz(**(ood_reference._asdict() | halves | {"rest": np.float32(ood_reference.rest)}))


def _distances(ood_reference: OodReference, answers: Predictions) -> NDArray[np.float64]:
    assert answers.appearance is not None
    assert answers.embeddings is not None
    pairs = zip(answers.appearance, answers.embeddings, strict=True)
    return np.array([ood_reference.distances(look, embedding) for look, embedding in pairs])


def _half(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """As they will be read again."""
    return values.astype(np.float16).astype(np.float32)


def _npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # dated 1980: the same numbers give the same bytes
    return content.getvalue()
