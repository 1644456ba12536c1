"""Drawn images depend only on the seed, and can be classified and trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.drawn import KINDS, SHAPES, Kind, draw_lesion, draw_shape, draw_shapes, encode_jpeg
from spot_bench.data.manifest import read_manifest
from spot_edge.image.tensor import decode, to_tensor
from spot_edge.model.spec import ImageSpec


@pytest.mark.parametrize("kind", KINDS)
def test_lesions_stand_out_from_skin_in_a_dark_frame(kind: Kind) -> None:
    picture = draw_lesion(3, 300, 225, kind)
    assert (picture.size, picture.mode) == ((300, 225), "RGB")
    pixels = np.asarray(picture, float)
    centre, corner = pixels[90:135, 120:180], pixels[:6, :6].mean()
    skin = (pixels[100:125, 15:40].mean(axis=(0, 1)) + pixels[100:125, 260:285].mean(axis=(0, 1))) / 2
    assert corner < 40
    assert skin.mean() > 140
    assert np.abs(centre - skin).mean() > 10


def test_the_seed_determines_the_image() -> None:
    first = np.asarray(draw_lesion(1, 120, 90))
    assert np.array_equal(first, np.asarray(draw_lesion(1, 120, 90)))
    assert not np.array_equal(first, np.asarray(draw_lesion(2, 120, 90)))
    assert not np.array_equal(first, np.asarray(draw_lesion(1, 120, 90, "melanoma")))


@pytest.mark.parametrize("size", [(600, 450), (48, 36), (40, 200)])
def test_any_size_can_be_drawn_and_classified(size: tuple[int, int]) -> None:
    picture, _ = decode(encode_jpeg(draw_lesion(0, *size, "carcinoma")), "drawn")
    assert picture.size == size
    tensor, _ = to_tensor(picture, ImageSpec(96))
    assert tensor.shape == (1, 96, 96, 3)


def test_shapes_are_a_data_set(tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes", per_class=5, seed=7)
    manifest = read_manifest(tmp_path / "shapes")
    assert manifest.labels == SHAPES
    assert len(manifest.items) == 15
    first = manifest.items[0].image.read_bytes()
    draw_shapes(tmp_path / "again", per_class=5, seed=7)
    assert (tmp_path / "again" / manifest.name(manifest.items[0])).read_bytes() == first
    draw_shapes(tmp_path / "other", per_class=5, seed=8)
    assert (tmp_path / "other" / manifest.name(manifest.items[0])).read_bytes() != first


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_stand_out(shape: str) -> None:
    for seed in range(10):
        pixels = np.asarray(draw_shape(shape, seed), float)
        assert pixels.std(axis=(0, 1)).max() > 20
