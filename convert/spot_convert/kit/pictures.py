"""The kit's pictures: drawn by code, so that anyone may pass them on."""

from __future__ import annotations

from PIL import Image

from spot_bench.drawings import KINDS, draw_lesion, draw_shape

__all__ = ["draw_pictures"]

# what is drawn, width, height (0: the network's input size). Landscape, portrait, square, wide, small; fine grain and
# plain shapes: each way to prepare a picture wrongly shows on some of them.
_DRAWN = (
    ("nevus", 600, 450),
    ("melanoma", 600, 450),
    ("keratosis", 640, 480),
    ("vascular", 450, 600),
    ("dermatofibroma", 450, 450),
    ("carcinoma", 800, 450),
    ("melanoma", 0, 0),
    ("nevus", 320, 240),
    ("circle", 300, 225),
    ("square", 240, 320),
    ("triangle", 400, 300),
)


def draw_pictures(size: int) -> dict[str, Image.Image]:
    """The pictures by name, for a network whose input is a square of `size`: the same for the same size."""
    pictures = {}
    for seed, (kind, width, height) in enumerate(_DRAWN):
        width, height = width or size, height or size
        lesion = next((known for known in KINDS if known == kind), None)
        picture = draw_lesion(seed, width, height, lesion) if lesion else draw_shape(kind, seed, width, height)
        pictures[f"{seed + 1:02}-{kind}-{width}x{height}.png"] = picture
    return pictures
