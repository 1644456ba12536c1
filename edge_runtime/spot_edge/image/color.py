"""Convert the pixels of any color mode to 8-bit sRGB."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from spot_edge.errors import InputError
from spot_edge.image.limits import lacks_memory

if TYPE_CHECKING:
    from PIL import ImageCms

__all__ = ["to_rgb"]

_ROUNDING = 3  # grey levels by which sRGB profiles of different makers differ


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode to 8-bit sRGB. 16-bit grey keeps its high byte, as 16-bit color does in Pillow."""
    profile = image.info.get("icc_profile")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = _opaque(image, name)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _through_profile(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")


def _opaque(image: Image.Image, name: str) -> Image.Image:
    """Remove an alpha channel that is opaque everywhere. Transparent parts hide colors that nobody has seen."""
    hidden = image.mode == "1" or image.mode.startswith("I")  # Pillow misreads the transparent color of these
    grey = image.info.get("transparency")
    if image.mode == "L" and isinstance(grey, int) and image.format == "PNG":
        # Pillow scales pixels of 2 or 4 bits to multiples of 17 or 85, but not this value.
        levels = {level for level, pixels in enumerate(image.histogram()) if pixels}
        hidden = not any(level % 17 for level in levels) and bool(levels & {17 * grey, 85 * grey})
    rgba = image.convert("RGBA")
    if hidden or rgba.getchannel("A").getextrema() != (255, 255):
        raise InputError(f"{name}: has transparent parts: save it without transparency")
    return rgba.convert("L" if image.mode in ("L", "LA") else "RGB")


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert `image` to sRGB by its color profile. A broken profile, or one that is sRGB already, changes nothing."""
    from PIL import ImageCms  # rarely needed, and slow to import

    try:
        source, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, srgb, image.mode, "RGB")
        if image.mode == "RGB" and _changes_nothing(transform):
            return image
        converted = ImageCms.applyTransform(image, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        if lacks_memory(*image.size):
            raise MemoryError from None
        return image
    return converted if converted is not None else image


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether `transform` maps sRGB to sRGB up to rounding. The names of profiles are not reliable."""
    from PIL import ImageCms

    steps = np.arange(16, dtype=np.uint8) * np.uint8(17)
    colors = np.stack(np.meshgrid(steps, steps, steps), axis=3).reshape(64, 64, 3)
    probe = ImageCms.applyTransform(Image.fromarray(colors), transform)
    return probe is not None and int(np.abs(np.asarray(probe).astype(np.int16) - colors).max()) <= _ROUNDING
