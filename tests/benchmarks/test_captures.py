"""Simulated captures of one lesion differ as documented, reproducibly."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spot_bench.data.drawn import draw_lesion
from spot_bench.robustness.captures import CONDITIONS, EXPOSURE, PLACE, WHITE_BALANCE, Conditions, capture
from spot_bench.robustness.defects import light_levels


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return draw_lesion(1, 400, 300, kind="melanoma")


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float64)


@pytest.mark.parametrize("conditions", CONDITIONS)
def test_frames_differ_and_are_reproducible(conditions: Conditions, picture: Image.Image) -> None:
    places = [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("b", 0, 0)]
    first, again = ([levels(capture(picture, *place, conditions)) for place in places] for _ in range(2))
    assert len({frame.tobytes() for frame in first}) == len(places)
    for frame, same in zip(first, again, strict=True):
        assert frame.shape == levels(picture).shape
        assert frame.tobytes() == same.tobytes()
        assert 0 < np.abs(frame - levels(picture)).mean() < 40


def test_steady_frames_share_light_and_position() -> None:
    grey = Image.new("RGB", (400, 300), (120, 120, 120))  # not affected by position, motion and focus

    def light(conditions: Conditions, burst: int) -> np.ndarray:
        return np.array([levels(capture(grey, "a", burst, n, conditions)).mean((0, 1)) for n in range(6)])

    steady, other, changing = light("steady", 0), light("steady", 1), light("changing", 0)
    assert np.ptp(steady, axis=0).max() < 1.5  # from compression
    assert np.abs(steady[0] - other[0]).max() > 3
    assert np.ptp(changing, axis=0).min() > 5
    reach = [levels_at[120] for levels_at in map(light_levels, (-EXPOSURE - WHITE_BALANCE, EXPOSURE + WHITE_BALANCE))]
    assert reach[0] - 1 <= changing.min() < changing.max() <= reach[1] + 1


def test_shift_stays_within_its_limit() -> None:
    dot = np.zeros((300, 400, 3), np.uint8)
    dot[145:156, 195:206] = 255
    found = set()
    for burst in range(8):
        seen = levels(capture(Image.fromarray(dot), "a", burst, 0, "steady"))[:, :, 1]
        across, down = (np.arange(n) @ seen.sum(axis) / seen.sum() - m for n, m, axis in ((400, 200, 0), (300, 150, 1)))
        assert max(abs(across), abs(down)) <= PLACE * 400 + 1
        found.add((round(across), round(down)))
    assert len(found) > 4
