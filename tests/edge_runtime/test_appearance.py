"""Measures of an image's appearance: each follows the property it is named after."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from spot_edge.image.appearance import APPEARANCE, appearance_of
from spot_edge.image.tensor import to_tensor
from spot_edge.model.spec import ImageSpec


@pytest.fixture(scope="module")
def skin() -> Image.Image:
    """Reddish skin with soft blotches of all sizes and a dark lesion in the middle."""
    random, (width, height) = np.random.default_rng(7), (400, 300)
    values = np.zeros((height, width), np.float32)
    for cell in (1, 2, 4, 8, 16, 32):
        grid = Image.fromarray(
            random.normal(0, 1 + cell / 16, (height // cell + 2, width // cell + 2)).astype(np.float32)
        )
        values += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:height, :width]
    values -= 12 * np.exp(-((x - width / 2) ** 2 + (y - height / 2) ** 2) / 4000)
    picture = np.array([200, 150, 140]) + 4 * values[:, :, None]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def measure(picture: Image.Image, size: int = 192) -> dict[str, float]:
    tensor, _ = to_tensor(picture, ImageSpec(size))
    return dict(zip(APPEARANCE, appearance_of(tensor).tolist(), strict=True))


def test_blur_lowers_sharpness_below_a_quarter_at_any_contrast(skin: Image.Image) -> None:
    faint = skin.point([round(128 + (level - 128) / 3) for level in range(256)] * 3)
    for picture in (skin, faint):
        values = [measure(picture.filter(ImageFilter.GaussianBlur(sigma)))["sharpness"] for sigma in (0, 1, 2, 4, 8)]
        assert values == sorted(values, reverse=True)
        assert values[0] > 0.3
        assert values[-1] < 0.25


def test_motion_blur_along_either_axis_lowers_sharpness(skin: Image.Image) -> None:
    pixels, sharp = np.asarray(skin, np.float32), measure(skin)["sharpness"]
    for axis in (0, 1):
        smeared = np.mean([np.roll(pixels, step, axis) for step in range(24)], axis=0)
        assert measure(Image.fromarray(smeared.astype(np.uint8)))["sharpness"] < 0.8 * sharp


def test_light_white_black_and_contrast_follow_the_levels(skin: Image.Image) -> None:
    plain = measure(skin)
    bright = measure(skin.point([min(255, 2 * level) for level in range(256)] * 3))
    dark = measure(skin.point([level // 8 for level in range(256)] * 3))
    assert dark["light"] < plain["light"] < bright["light"] <= 1
    assert plain["white"] == 0
    assert bright["white"] > 0.5
    assert plain["black"] < 0.01
    assert dark["black"] > 0.5
    assert dark["contrast"] < plain["contrast"]


@pytest.mark.parametrize("level", [0, 20, 21, 249, 250, 255])
def test_an_image_of_one_level_has_finite_measures(level: int) -> None:
    found = measure(Image.new("RGB", (64, 48), (level, level, level)))
    assert np.isfinite(list(found.values())).all()
    assert found["white"] == (level >= 250)
    assert found["black"] == (level <= 20)
    assert (found["sharpness"], found["contrast"]) == (0, 0)
    assert found["light"] == pytest.approx(level / 255)


def test_colours_of_the_rim_and_the_middle() -> None:
    pixels = np.zeros((192, 192, 3), np.uint8)
    pixels[:] = (255, 0, 51)
    pixels[48:144, 48:144] = (0, 255, 102)
    found = dict(zip(APPEARANCE, appearance_of(pixels[np.newaxis]).tolist(), strict=True))
    assert [found[f"rim {c}"] for c in ("red", "green", "blue")] == pytest.approx([1, 0, 0.2], abs=1e-5)
    assert [found[f"middle {c}"] for c in ("red", "green", "blue")] == pytest.approx([0, 1, 0.4], abs=1e-5)
    assert found["green over red"] == pytest.approx(0.5)  # the root of a quarter


@pytest.mark.parametrize("size", [16, 17, 96, 224])
def test_every_input_size_has_finite_measures(skin: Image.Image, size: int) -> None:
    assert np.isfinite(list(measure(skin, size).values())).all()
