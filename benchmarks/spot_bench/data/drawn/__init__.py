"""Drawn images for demonstrations, tests and timing without images of patients."""

from __future__ import annotations

from spot_bench.data.drawn.canvas import encode_jpeg
from spot_bench.data.drawn.lesions import KINDS, Kind, draw_lesion
from spot_bench.data.drawn.shapes import SHAPES, draw_shape, draw_shapes

__all__ = ["KINDS", "SHAPES", "Kind", "draw_lesion", "draw_shape", "draw_shapes", "encode_jpeg"]
