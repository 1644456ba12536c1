"""A large JPEG for kits of models whose geometry reduces such images while they are decoded.

Apps decode and scale large JPEGs in their own ways, so tensors need not be identical. The still has a tolerance of its
own for the scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from spot_bench.data.drawn import Kind, draw_lesion, encode_jpeg
from spot_convert.kit.measure import Outputs, Tolerance, run_all
from spot_convert.kit.mistakes import Way
from spot_convert.kit.vectors import CORNERS, RIGHT, STOCK
from spot_edge.image.limits import MAX_PIXELS
from spot_edge.image.source import Source
from spot_edge.image.tensor import decode, prepare
from spot_edge.model.file import ModelFile
from spot_edge.model.spec import ImageSpec

__all__ = ["Still", "draw_still", "measure_still"]

_WIDE, _HIGH = 8, 6  # sides of the still, in sides of the network's input: just enough for its halves
_DRAWN = (640, 480)
_KIND: Kind = "carcinoma"
_SEED = 102  # with the embedded model, detail counts more here than in other drawings, and decoding at full size less
_QUALITY = 75
_MARGIN = 3


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A large JPEG, the outputs for its reduced image by way, and how far an app's scores may be from them."""

    name: str
    data: bytes = field(repr=False)
    width: int
    height: int
    reduction: int
    outputs: Mapping[str, Outputs] = field(repr=False)
    tolerance: float
    decoding: float  # largest difference of a score after decoding at full size

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "image": f"stills/{self.name}",
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "width": self.width,
            "height": self.height,
            "reduction": self.reduction,
            "tolerance": self.tolerance,
            "decoding": self.decoding,
            "outputs": {key: found.as_dict(complete=False) for key, found in self.outputs.items()},
        }


def draw_still(spec: ImageSpec) -> bytes | None:
    """Draw a JPEG that `spec` reduces, or return None if it reduces no JPEG that the device accepts."""
    width, height = _WIDE * spec.size, _HIGH * spec.size
    if spec.geometry != "stretch-reduced-jpeg" or width * height > MAX_PIXELS:
        return None
    drawn = draw_lesion(_SEED, *_DRAWN, _KIND)
    return encode_jpeg(drawn.resize((width, height), Image.Resampling.BICUBIC), _QUALITY)


def measure_still(model: ModelFile, ways: Sequence[Way], tolerance: Tolerance) -> Still | None:
    """Return the still for `model` and its expected outputs, or None if its geometry reduces nothing.

    Allow three times the difference that decoding at full size makes, and at least as much as for small images.
    """
    data = draw_still(model.spec.image)
    if data is None:
        return None
    chosen = [way for way in ways if way.key in (RIGHT, STOCK, CORNERS)]
    prepared = prepare(Source.of(data), model.spec.image)
    outputs = run_all(model, {"reduced": prepared.image, "full": decode(data, "still")[0]}, chosen)
    reduced, full = outputs["reduced"], outputs["full"]
    gaps = [np.abs(reduced[way.key].values["scores"] - full[way.key].values["scores"]).max() for way in chosen]
    decoding = round(float(max(gaps)), 4)
    width, height = (side * prepared.reduction for side in prepared.image.size)
    allowed = round(max(tolerance.score, _MARGIN * decoding), 4)
    name = f"1-{_KIND}-{width}x{height}.jpg"
    return Still(name, data, width, height, prepared.reduction, reduced, allowed, decoding)
