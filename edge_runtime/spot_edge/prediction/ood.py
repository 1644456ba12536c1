"""How unlike the pictures of training a picture is, by what it looks like and by what the network makes of it."""

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
# compiled when it is first used: not every model file has such a member
_NPY = (
    rb"(?s)\x93NUMPY\x01\0..\{'descr': '(<[fi][248])', "
    rb"'fortran_order': (?:False|(True)), 'shape': \(([0-9, ]*)\), \} *\n"
)


class OodReference(NamedTuple):
    """Where training's pictures lie: the arrays of `embedding.npz`."""

    means: NDArray[np.float32]  # [C,D] embeddings of each class; NaN where there was no picture
    axes: NDArray[np.float32]  # [r,D] along which embeddings scatter most around them
    variances: NDArray[np.float32]  # [r] along the axes
    rest: float  # along any other direction
    look_mean: NDArray[np.float32]  # [K]
    look_whitening: NDArray[np.float32]  # [K,K]: a look less the mean, times this, has unit variances
    usual: NDArray[np.float32]  # [2,2]: mean and deviation of the logarithms of both distances, on validation

    def distances(self, look: NDArray[np.float32], embedding: NDArray[np.float32]) -> tuple[float, float]:
        """The squared Mahalanobis distances of an embedding, from the nearest class, and of a look."""
        apart = embedding - self.means
        along = apart @ self.axes.T
        across = (apart * apart).sum(1) - (along * along).sum(1)
        own = np.fmin.reduce(across / self.rest + (along * along / self.variances).sum(1))  # NaN only where all are
        white = (look[OOD_FEATURES] - self.look_mean) @ self.look_whitening
        return float(own), float(white @ white)

    def ood_distance(self, look: NDArray[np.float32], embedding: NDArray[np.float32]) -> float:
        """How far both distances lie beyond the usual ones, in deviations of their logarithms, summed."""
        logarithms = [math.log(max(distance, 1e-9)) for distance in self.distances(look, embedding)]
        return float(sum((value - mean) / spread for value, (mean, spread) in zip(logarithms, self.usual, strict=True)))


def ood_reference_of(model: ModelFile) -> OodReference | None:
    """What the model's own limit for unfamiliar pictures is measured with; None where it has no such limit."""
    if model.spec.image_quality is None or OOD not in model.spec.image_quality.limits:
        return None
    features = model.signature.outputs["embedding"].shape[1]
    return read_ood_reference(model.members.get(MEMBER, b""), features, model.name)


def read_ood_reference(content: bytes, features: int, name: str) -> OodReference:
    """What `embedding.npz` of the model file `name` holds; ModelError where it is not of our shapes."""
    wrong = ModelError(f"{name}: its {MEMBER} does not hold what distances are measured with")
    try:
        arrays = _arrays(content)
        found = OodReference(
            **{key: np.asarray(arrays[key], np.float32) for key in OodReference._fields if key != "rest"},
            rest=float(arrays["rest"]),
        )
    except (KeyError, TypeError, ValueError):
        raise wrong from None
    looks, axes = len(APPEARANCE[OOD_FEATURES]), len(found.variances) if found.variances.ndim == 1 else 0
    shapes = {
        "means": (len(found.means), features),
        "axes": (axes, features),
        "look_mean": (looks,),
        "look_whitening": (looks, looks),
        "usual": (2, 2),
    }
    if any(getattr(found, key).shape != shape for key, shape in shapes.items()) or not (
        found.rest > 0 and (found.variances > 0).all() and (found.usual[:, 1] > 0).all()
    ):
        raise wrong
    return found


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz` that `numpy.savez` wrote; ValueError for anything else."""
    return {name.removesuffix(".npy"): _array(array) for name, array in read_stored(content).items()}


def _array(content: bytes) -> NDArray[Any]:
    """The numbers of an `.npy`. numpy's own reader takes any Python literal for a header, and the memory it names."""
    header = re.match(_NPY, content)
    if header is None:
        raise ValueError("no array of plain numbers")
    kind, turned, sides = header.groups()
    shape = [int(side) for side in sides.split(b",") if side.strip()]
    try:
        return np.frombuffer(content, kind.decode(), offset=header.end()).reshape(shape, order="F" if turned else "C")
    except OverflowError as error:  # a side of more than 64 bits
        raise ValueError("no array of plain numbers") from error
