"""Decoded images follow the geometry of the recipe, and caches of other geometries are not mixed up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.data.manifest import Item, Manifest
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.model.spec import ImageSpec
from spot_train.data.pixels import cached_pixels, pixel_array, pixels_key
from spot_train.labels.labelset import load_label_set
from spot_train.recipes.recipe import load_recipe, recipe_hash, render_recipe
from spot_train.runs.directory import describe_run

FULL, REDUCED = ImageSpec(64), ImageSpec(64, "stretch-reduced-jpeg")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """A JPEG that is large enough to be reduced, and one that is not."""
    folder = tmp_path_factory.mktemp("images")
    items = []
    for seed, size in enumerate([(768, 576), (320, 240)]):
        path = folder / f"{seed}.jpg"
        path.write_bytes(encode_jpeg(draw_lesion(seed, *size)))
        items.append(Item(path, "nv", str(seed)))
    return Manifest(tuple(items), folder)


def test_only_large_jpegs_depend_on_the_geometry(manifest: Manifest) -> None:
    full, reduced = (pixel_array(manifest, spec) for spec in (FULL, REDUCED))
    for index, item in enumerate(manifest.items):
        prepared = prepare(Source.of(item.image), REDUCED)
        assert prepared.reduction == (2, 1)[index]
        assert np.array_equal(reduced[index], prepared.tensor[0])
        assert np.array_equal(full[index], reduced[index]) == bool(index)


def test_each_geometry_has_its_cache_and_the_default_keeps_its_name(manifest: Manifest, tmp_path: Path) -> None:
    full, reduced = (cached_pixels(manifest, spec, tmp_path) for spec in (FULL, REDUCED))
    assert not np.array_equal(full[0], reduced[0])
    key = pixels_key(manifest)
    names = [f"pixels-64-{key}.npy", f"pixels-64-stretch-reduced-jpeg-bilinear-antialias-{key}.npy"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_run_states_the_geometry_of_its_recipe(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("image,label,group,split\n")
    labels = load_label_set("ham10000")
    for changes, geometry in (([], "stretch"), (["network.geometry=stretch-reduced-jpeg"], "stretch-reduced-jpeg")):
        recipe = load_recipe("spot", changes)
        about = describe_run(recipe, labels, tmp_path / "split.csv", None, "none")["image"]
        assert about == {"size": recipe.network.size, "geometry": geometry, "filter": "bilinear-antialias"}
        assert ImageSpec(**about) == recipe.network.image


def test_the_default_geometry_leaves_recipe_and_hash_as_they_were() -> None:
    plain, named, other = (load_recipe("spot", changes) for changes in (
        [], ["network.geometry=stretch"], ["network.geometry=stretch-reduced-jpeg"],
    ))  # fmt: skip
    assert "geometry" not in render_recipe(plain)
    assert recipe_hash(plain) == recipe_hash(named) != recipe_hash(other)
    assert 'geometry = "stretch-reduced-jpeg"' in render_recipe(other)
