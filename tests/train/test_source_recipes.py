"""Sources in a recipe: rendering, the hash, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from spot_edge.errors import DataError
from spot_train.recipes.recipe import Source, load_recipe, recipe_hash, render_recipe


def test_a_recipe_with_sources_is_equal_after_rendering_and_loading(mixed: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(mixed / "mixed.toml"))
    (tmp_path / "again.toml").write_text(render_recipe(recipe))
    assert load_recipe(str(tmp_path / "again.toml")) == recipe
    changed = dataclasses.replace(recipe, sources=(dataclasses.replace(recipe.sources[0], weight=0.25),))
    assert recipe_hash(changed) != recipe_hash(recipe)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("any-images", "c9f7e23d4edd050a27d433d5f1efc880c9a6259b386456a8c4dcd8b29f548a53"),
        ("ham-top2", "ef23f30ff7e4d30395fbd09c1ac1f15d21a4fc2758d0da6c327bf9befc052cb3"),
        ("inception-binary", "91d6a904415c41d66bb06350924abd49254b2947bc4fa1421449a69e3c19de59"),
        ("spot-check", "370eefbca50b150b7091ffff7bc008d16cdb989dabf47d1baca0c1efeaffb267"),
    ],
)
def test_new_keys_do_not_change_the_hash_of_older_recipes(name: str, digest: str) -> None:
    assert recipe_hash(load_recipe(name)) == digest
    assert "sources" not in render_recipe(load_recipe(name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('angular = ["square", "triangle"]|angular = []', "angular has no class"),
        ('angular = ["square", "triangle"]|angular = ["square", "square"]', "names a class twice"),
        ('angular = ["square", "triangle"]|angular = 3', "must be a class or a list of classes"),
        ('name = "first"|name = "partial"', "two sources have the same name"),
        ('licence = "CC0"|', "the key 'licence' is missing"),
        ('licence = "CC0"|licence = ""', "licence must not be empty"),
        ("weight = 0.5|weight = 0.0", "weight must be above 0"),
        ("weight = 0.5|weigth = 0.5", "sources: partial: unknown key 'weigth'; did you mean 'weight'?"),
        ("native = 24|native = 3", "native must be at least 8 pixels"),
        ("native = 24|", "augment.sharpness needs a source with native"),
        ("native = 24|native = 40", "below train.stored_size"),
        ("pretrain_epochs = 1|", "needs train.pretrain_epochs"),
        ("pretrain_epochs = 1|pretrain_epochs = 4", "at most train.epochs"),
        ("pretrain_only = true|", "train.pretrain_epochs needs a source"),
        ('ema = 0.8|loss = "focal"', "train.loss = focal does not support sets of classes"),
    ],
)
def test_an_invalid_source_is_refused_in_one_line(mixed: Path, tmp_path: Path, change: str, message: str) -> None:
    old, new = change.split("|")
    recipe = (mixed / "mixed.toml").read_text()
    assert old in recipe
    (tmp_path / "recipe.toml").write_text(recipe.replace(old, new))
    with pytest.raises(DataError) as caught:
        load_recipe(str(tmp_path / "recipe.toml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_source_has_no_path() -> None:
    assert not {"path", "manifest"} & {field.name for field in dataclasses.fields(Source)}
