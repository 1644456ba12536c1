"""12-megapixel stills made from small images, and the overhead of classifying one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from spot_bench.data.drawn import draw_lesion
from spot_bench.data.drawn.canvas import STILL, large_still
from spot_bench.speed.overhead import STILL_TARGET, still_overhead
from spot_edge.classifier import Classifier
from spot_edge.image.tensor import to_tensor
from spot_edge.model.spec import ImageSpec


def test_a_still_has_the_size_of_a_camera_image_and_the_same_content() -> None:
    drawn = draw_lesion(seed=1)
    jpeg = large_still(drawn)
    still = Image.open(io.BytesIO(jpeg))
    assert (still.format, still.mode, still.size) == ("JPEG", "RGB", STILL)
    assert 2e6 < len(jpeg) < 5e6
    small, large = (to_tensor(image, ImageSpec(96))[0].astype(int) for image in (drawn, still))
    assert np.abs(small - large).mean() < 1


def test_the_seed_determines_the_grain() -> None:
    drawn = draw_lesion(seed=1)
    first, second = (np.asarray(Image.open(io.BytesIO(large_still(drawn, seed))), np.int16) for seed in (0, 1))
    difference = (first - second)[::4, ::4]
    assert abs(float(difference.mean())) < 0.1
    assert 4 < float(difference.std()) < 9  # two grains of 5, reduced by the JPEG
    assert large_still(drawn, 1) == large_still(drawn, 1)


def test_overhead_of_a_large_still() -> None:
    found = still_overhead(Classifier.load(), times=6)
    assert found.median.n == 6
    assert found.median.value == pytest.approx(found.ours_ms / found.bare_ms)
    assert found.target == STILL_TARGET
    assert found.fastest > 0
