"""Simulate another photograph of the same lesion: position, motion, light, focus and compression vary.

The strengths were fixed before anything was measured with them. None exceeds the mild one of its kind in `defects`:
a clinic would keep these images. Each strength is drawn uniformly up to its limit, seeded with the image's name and the
numbers of burst and frame, so that a capture is the same on every machine.
"""

from __future__ import annotations

import zlib
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from spot_bench.data.drawn.canvas import encode_jpeg
from spot_bench.robustness.defects import light_levels, moved, out_of_focus
from spot_edge.image.tensor import decode

__all__ = ["CONDITIONS", "Conditions", "capture"]

Conditions: TypeAlias = Literal["changing", "steady"]
# changing: everything varies between frames. steady: the frames of one burst share position, exposure and white
# balance, as under one lamp in one hand; only motion, focus and compression vary.
CONDITIONS: tuple[Conditions, ...] = ("changing", "steady")

PLACE = 0.02  # share of the width: largest shift, across and down, either way
MOTION = 0.012  # share of the width: longest motion blur, in any direction
FOCUS = 0.004  # share of the width: largest standard deviation of the blur
EXPOSURE = 0.4  # stops, either way
WHITE_BALANCE = 0.12  # stops, either way, of red and of blue against green
QUALITY = (70, 95)  # of the JPEG


def capture(image: Image.Image, name: str, burst: int, frame: int, conditions: Conditions) -> Image.Image:
    """Return `image` (RGB) as frame `frame` of burst `burst` would show it, encoded and decoded once more."""
    key = zlib.crc32(name.encode(errors="surrogateescape"))
    own = np.random.default_rng([1, key, burst, frame])
    around = np.random.default_rng([2, key, burst, 0 if conditions == "steady" else 1 + frame])
    across, down = (round(around.uniform(-PLACE, PLACE) * image.width) for _ in range(2))
    exposure = around.uniform(-EXPOSURE, EXPOSURE)
    red, blue = (around.uniform(-WHITE_BALANCE, WHITE_BALANCE) for _ in range(2))
    seen = _shifted(image, across, down)
    seen = seen.point([level for change in (red, 0.0, blue) for level in light_levels(exposure + change)])
    seen = moved(own.uniform(0, MOTION))(seen, own)
    seen = out_of_focus(own.uniform(0, FOCUS))(seen, own)
    return decode(encode_jpeg(seen, int(own.integers(QUALITY[0], QUALITY[1], endpoint=True))), name)[0]


def _shifted(image: Image.Image, across: int, down: int) -> Image.Image:
    """Shift the image. The border is filled by reflection."""
    rim = max(abs(across), abs(down))
    wide = np.pad(np.asarray(image), ((rim, rim), (rim, rim), (0, 0)), mode="reflect")
    return Image.fromarray(wide).crop((rim + across, rim + down, rim + across + image.width, rim + down + image.height))
