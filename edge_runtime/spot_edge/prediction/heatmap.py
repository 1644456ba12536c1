"""Heat maps: where in the image the network found evidence for a class."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from spot_edge.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spot_edge.image.tensor import Prepared
    from spot_edge.prediction.prediction import Prediction

__all__ = ["evidence_for", "overlay", "overlay_png"]

LONGEST_SIDE = 1024
STRENGTH = 0.45

# Position, red, green, blue: a ramp from dark to light, which also works when printed in grey.
_RAMP = np.array(
    [
        (0.00, 59, 15, 112),
        (0.30, 140, 41, 129),
        (0.60, 222, 73, 104),
        (0.80, 254, 159, 109),
        (1.00, 252, 253, 191),
    ],
    np.float32,
)


def evidence_for(prediction: Prediction, label: str | None = None) -> NDArray[np.float32]:
    """The evidence for `label` (default: the top class) above the average class, from 0 to 1, for each position.

    Adding the same amount to every class changes no score, so only what exceeds the average counts.
    """
    label = prediction.top.label if label is None else label
    if label not in prediction.labels:
        raise InputError(f"{label}: not a class of this model; its classes are {', '.join(prediction.labels)}")
    index, evidence = prediction.labels.index(label), prediction.evidence
    if evidence.size == 0 or prediction.misbehaves:
        raise InputError("this prediction has no evidence map")
    above = np.maximum(evidence[:, :, index] - evidence.mean(axis=2), 0)
    highest = float(above.max())
    return np.asarray(above / highest if highest > 0 else above)


def overlay(prepared: Prepared, prediction: Prediction, label: str | None = None) -> Image.Image:
    """Draw the evidence for `label` (default: the top class) over the upright image, at most 1024 pixels per side."""
    picture = prepared.image
    scale = min(1.0, LONGEST_SIDE / max(picture.size))
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    left, top, right, bottom = (round(v * scale) for v in prepared.crop or (0, 0, *prepared.image.size))
    grid = Image.fromarray((255 * evidence_for(prediction, label)).astype(np.uint8))
    seen = grid.resize((max(1, right - left), max(1, bottom - top)), Image.Resampling.BICUBIC)
    evidence = np.zeros((picture.height, picture.width), np.float32)
    region = evidence[top:bottom, left:right]
    region[:] = np.asarray(seen, np.float32)[: region.shape[0], : region.shape[1]] / 255
    colours = np.stack([np.interp(evidence, _RAMP[:, 0], _RAMP[:, c]) for c in (1, 2, 3)], axis=2)
    opacity = (STRENGTH * evidence)[:, :, np.newaxis]
    blended = np.asarray(picture, np.float32) * (1 - opacity) + colours * opacity
    return Image.fromarray(np.clip(blended + 0.5, 0, 255).astype(np.uint8))


def overlay_png(prepared: Prepared, prediction: Prediction, label: str | None = None) -> bytes:
    """`overlay` as a PNG without metadata."""
    encoded = io.BytesIO()
    overlay(prepared, prediction, label).save(encoded, "PNG")
    return encoded.getvalue()
