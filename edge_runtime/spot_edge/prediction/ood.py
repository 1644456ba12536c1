"""Out-of-distribution distance: how far an image lies from the training images, by appearance and by embedding."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from spot_edge.errors import ModelError
from spot_edge.image.appearance import APPEARANCE, OOD_FEATURES
from spot_edge.image.quality import OOD
from spot_edge.model.file import read_stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spot_edge.model.file import ModelFile

__all__ = ["MEMBER", "OodReference", "ood_reference_of", "read_ood_reference"]

MEMBER = "embedding.npz"
# compiled on first use: not every model file has this member
_NPY = (
    rb"(?s)\x93NUMPY\x01\0..\{'descr': '(<[fi][248])', "
    rb"'fortran_order': (?:False|(True)), 'shape': \(([0-9, ]*)\), \} *\n"
)


class OodReference(NamedTuple):
    """Where the training images lie. The fields are named like the arrays in `embedding.npz`."""

    means: NDArray[np.float32]  # [C,D] mean embedding of each class; NaN for a class without images
    axes: NDArray[np.float32]  # [r,D] directions in which embeddings vary most around the means
    variances: NDArray[np.float32]  # [r] along these axes
    rest: float  # variance in every other direction
    look_mean: NDArray[np.float32]  # [K] mean of the appearance features
    look_whitening: NDArray[np.float32]  # [K,K]: features minus their mean, times this, have unit variance
    usual: NDArray[np.float32]  # [2,2]: mean and standard deviation of both log distances on validation images

    def distances(self, appearance: NDArray[np.float32], embedding: NDArray[np.float32]) -> tuple[float, float]:
        """Squared Mahalanobis distances: of the embedding from the nearest class, and of the appearance."""
        with np.errstate(all="ignore"):  # a result that is infinite or NaN fails the check
            offset = embedding - self.means
            along = offset @ self.axes.T
            across = (offset * offset).sum(1) - (along * along).sum(1)
            nearest = np.fmin.reduce(across / self.rest + (along * along / self.variances).sum(1))  # ignores NaN
            white = (appearance[OOD_FEATURES] - self.look_mean) @ self.look_whitening
            return float(nearest), float(white @ white)

    def ood_distance(self, appearance: NDArray[np.float32], embedding: NDArray[np.float32]) -> float:
        """Both log distances, standardized by those of validation images, and summed."""
        logarithms = [math.log(max(distance, 1e-9)) for distance in self.distances(appearance, embedding)]
        return float(sum((value - mean) / spread for value, (mean, spread) in zip(logarithms, self.usual, strict=True)))


def ood_reference_of(model: ModelFile) -> OodReference | None:
    """The reference for the model's OOD limit, or None if it has no such limit."""
    if model.spec.image_quality is None or OOD not in model.spec.image_quality.limits:
        return None
    features = model.signature.outputs["embedding"].shape[1]
    return read_ood_reference(model.members.get(MEMBER, b""), features, model.name)


def read_ood_reference(content: bytes, features: int, name: str) -> OodReference:
    """Parse `embedding.npz` of the model file `name`. Raises ModelError for unexpected content."""
    wrong = ModelError(f"{name}: its {MEMBER} does not hold the arrays of an OOD reference")
    try:
        arrays = _arrays(content)
        with np.errstate(over="ignore"):  # infinite numbers are refused below
            found = OodReference(
                **{key: np.asarray(arrays[key], np.float32) for key in OodReference._fields if key != "rest"},
                rest=float(arrays["rest"]),
            )
    except (KeyError, TypeError, ValueError):
        raise wrong from None
    count, axes = len(APPEARANCE[OOD_FEATURES]), len(found.variances) if found.variances.ndim == 1 else 0
    classes = len(found.means) if found.means.ndim == 2 else 0
    shapes = {
        "means": (classes, features),
        "axes": (axes, features),
        "look_mean": (count,),
        "look_whitening": (count, count),
        "usual": (2, 2),
    }
    if classes == 0 or any(getattr(found, key).shape != shape for key, shape in shapes.items()):
        raise wrong
    known = np.isfinite(found.means).all(1)
    finite = all(np.isfinite(getattr(found, key)).all() for key in (*shapes, "rest") if key != "means")
    if not (finite and (known | np.isnan(found.means).all(1)).all()):
        raise wrong
    if not (found.rest > 0 and (found.variances > 0).all() and (found.usual[:, 1] > 0).all()):
        raise wrong
    return found


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` written by `numpy.savez`. Raises ValueError for anything else."""
    return {name.removesuffix(".npy"): _array(array) for name, array in read_stored(content).items()}


def _array(content: bytes) -> NDArray[Any]:
    """Parse an `.npy`. Unlike numpy's reader, this allocates no memory that the file does not have."""
    header = re.match(_NPY, content)
    if header is None:
        raise ValueError("not a plain numeric array")
    kind, fortran, sides = header.groups()
    shape = [int(side) for side in sides.split(b",") if side.strip()]
    try:
        return np.frombuffer(content, kind.decode(), offset=header.end()).reshape(shape, order="F" if fortran else "C")
    except OverflowError as error:  # a side that exceeds 64 bits
        raise ValueError("not a plain numeric array") from error
