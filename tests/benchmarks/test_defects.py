"""Capture defects do what their names say, reproducibly, and strong ones change more than mild ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from spot_bench.data.drawn import draw_lesion
from spot_bench.robustness.defects import DEFECTS, Defect

BY_NAME = {defect.name: defect for defect in DEFECTS}


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return draw_lesion(1, kind="melanoma")


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.float64)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_defects_keep_size_and_mode_and_depend_on_the_seed(defect: Defect, picture: Image.Image) -> None:
    changed = defect.apply(picture, 3)
    assert (changed.mode, changed.size) == ("RGB", picture.size)
    assert levels(changed).tobytes() != levels(picture).tobytes()
    assert levels(changed).tobytes() == levels(defect.apply(picture, 3)).tobytes()


@pytest.mark.parametrize("kind", dict.fromkeys(defect.kind for defect in DEFECTS))
def test_strong_changes_more_than_mild(kind: str, picture: Image.Image) -> None:
    mild, strong = (
        np.abs(levels(BY_NAME[f"{severity} {kind}"].apply(picture, 3)) - levels(picture)).mean()
        for severity in ("mild", "strong")
    )
    assert 0 < mild < strong


def test_one_stop_less_halves_linear_light() -> None:
    grey = Image.new("RGB", (64, 48), (188, 188, 188))  # half of linear white
    darker = np.asarray(BY_NAME["mild under-exposure"].apply(grey))
    assert (darker == 137).all()  # a quarter of it


def test_blur_scales_with_the_image(picture: Image.Image) -> None:
    """Blur is a share of the width: enlarging before or after it gives the same image."""
    blur = BY_NAME["strong blur"]
    twice = (2 * picture.width, 2 * picture.height)
    before = levels(blur.apply(picture.resize(twice, Image.Resampling.BICUBIC)))
    after = levels(blur.apply(picture).resize(twice, Image.Resampling.BICUBIC))
    assert np.abs(before - after).mean() < 1.0
