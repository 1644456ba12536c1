"""Changes between two clinics that should not change a prediction: compression, rotation, light, focus, resizing."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from spot_edge.image.tensor import Prepared, to_tensor

__all__ = ["PERTURBATIONS", "Perturbation"]

Tensor: TypeAlias = NDArray[np.uint8]  # [1,S,S,3]


def _as_image(change: Callable[[Image.Image], Image.Image]) -> Callable[[Prepared], Tensor]:
    """Return the tensor of a changed image, made as the model file prescribes."""
    return lambda prepared: to_tensor(change(prepared.image), prepared.spec)[0]


def _as_tensor(resize: Callable[[Image.Image, int], Image.Image]) -> Callable[[Prepared], Tensor]:
    """Return the tensor that another resizing method makes of the model's crop of the image."""

    def tensor(prepared: Prepared) -> Tensor:
        kept = prepared.image.crop(prepared.crop) if prepared.crop else prepared.image
        return np.asarray(resize(kept, prepared.spec.size))[np.newaxis]

    return tensor


def _jpeg(quality: int) -> Callable[[Prepared], Tensor]:
    def change(image: Image.Image) -> Image.Image:
        content = io.BytesIO()
        image.save(content, "JPEG", quality=quality)
        return Image.open(content).convert("RGB")

    return _as_image(change)


def _rotated(degrees: float) -> Callable[[Prepared], Tensor]:
    """Rotate about the centre. The border is filled by reflection."""

    def change(image: Image.Image) -> Image.Image:
        rim = math.ceil(max(image.size) / 2 * math.sin(math.radians(abs(degrees)))) + 2
        wide = Image.fromarray(np.pad(np.asarray(image), ((rim, rim), (rim, rim), (0, 0)), mode="reflect"))
        rotated = wide.rotate(degrees, Image.Resampling.BICUBIC)
        return rotated.crop((rim, rim, rim + image.width, rim + image.height))

    return _as_image(change)


def _brighter(factor: float) -> Callable[[Prepared], Tensor]:
    table = [min(255, round(factor * level)) for level in range(256)]
    return _as_image(lambda image: image.point(3 * table))


def _blurred(sigma: float) -> Callable[[Prepared], Tensor]:
    return _as_image(lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))


def _resized(by: Image.Resampling) -> Callable[[Prepared], Tensor]:
    return _as_tensor(lambda image, size: image.resize((size, size), by))


def _aliased(image: Image.Image, size: int) -> Image.Image:
    """Interpolate between the four nearest pixels only, without antialiasing."""
    whole = (0, 0, *image.size)
    return image.transform((size, size), Image.Transform.EXTENT, whole, Image.Resampling.BILINEAR)


def _mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A change that should not change the prediction, and its strength."""

    kind: str
    severity: str
    tensor: Callable[[Prepared], Tensor]  # of the changed image

    @property
    def name(self) -> str:
        """Kind and severity."""
        return f"{self.kind} {self.severity}".strip()


PERTURBATIONS = (
    Perturbation("JPEG", "quality 90", _jpeg(90)),
    Perturbation("JPEG", "quality 75", _jpeg(75)),
    Perturbation("JPEG", "quality 50", _jpeg(50)),
    Perturbation("rotated", "-10°", _rotated(-10)),
    Perturbation("rotated", "-5°", _rotated(-5)),
    Perturbation("rotated", "+5°", _rotated(5)),
    Perturbation("rotated", "+10°", _rotated(10)),
    Perturbation("brightness", "-20 %", _brighter(0.8)),
    Perturbation("brightness", "-10 %", _brighter(0.9)),
    Perturbation("brightness", "+10 %", _brighter(1.1)),
    Perturbation("brightness", "+20 %", _brighter(1.2)),
    Perturbation("blur", "1 pixel", _blurred(1)),
    Perturbation("blur", "2 pixels", _blurred(2)),
    Perturbation("resize", "bicubic", _resized(Image.Resampling.BICUBIC)),
    Perturbation("resize", "Lanczos", _resized(Image.Resampling.LANCZOS)),
    Perturbation("resize", "box", _resized(Image.Resampling.BOX)),
    Perturbation("resize", "aliased", _as_tensor(_aliased)),
    Perturbation("mirrored", "", _as_image(_mirrored)),
)
