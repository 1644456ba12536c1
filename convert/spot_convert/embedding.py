"""Where training's embeddings lie, in few numbers: what the device later measures an image's distance with.

`embedding.npz` in a model file holds the mean of each class, and a low-rank shape of how the images scatter around
the means: some axes with their variances, and one variance for all that is left.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AXES", "embedding_member"]

AXES = 8
LARGEST = 64_000


def embedding_member(embeddings: NDArray[np.float32], truth: NDArray[np.int64], classes: int) -> bytes:
    """The bytes of `embedding.npz`: `means` [C,D], `counts` [C], `axes` [r,D], `variances` [r] and `rest`.

    A class without images has a mean of NaN. Half precision keeps 1,280 features of seven classes below 40 kB.
    """
    values = embeddings.astype(np.float64)
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
    return _npz(
        means=means.astype(np.float16),
        counts=counts.astype(np.int32),
        axes=(axes[:kept] * signs[:, None]).astype(np.float16),
        variances=variances[:kept].astype(np.float32),
        rest=np.float32(variances[kept:].sum() / max(1, values.shape[1] - kept)),
    )


def _npz(**arrays: Any) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)  # dated 1980: the same numbers give the same bytes
    return content.getvalue()
