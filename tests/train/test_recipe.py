"""Recipes: complete, replayable, and strict about unknown keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from spot_edge.errors import DataError
from spot_train.labels.labelset import load_label_set
from spot_train.recipes.recipe import known_recipes, load_recipe, recipe_hash, render_recipe


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", known_recipes())
def test_included_recipes_are_equal_after_rendering_and_loading(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    again = load_recipe(written(tmp_path, render_recipe(recipe)))
    assert again == recipe
    assert recipe_hash(again) == recipe_hash(recipe)


def test_the_seed_is_part_of_the_hash(tmp_path: Path) -> None:
    one, two = (load_recipe(written(tmp_path, f'name = "x"\n[train]\nseed = {seed}\n')) for seed in (1, 2))
    assert recipe_hash(one) != recipe_hash(two)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\n[train]\nlearning_rat = 1e-3', "unknown key 'learning_rat'; did you mean 'learning_rate'?"),
        ('nam = "x"', "did you mean 'name'?"),
        ("", "the key 'name' is missing"),
        ('name = "x"\ntrain = 3', "train must be a table"),
        ('name = "x"\n[train]\nepochs = "many"', "train: epochs must be a whole number"),
        ('name = "x"\n[train]\nepochs = true', "train: epochs must be a whole number"),
        ('name = "x"\n[augment]\nzoom = [1.0]', "zoom must be two numbers"),
        ('name = "x"\n[augment]\nzoom = [1.0, 0.5]', "two increasing numbers"),
        ('name = "x"\n[network]\nsize = 200', "multiple of 32"),
        ('name = "x"\n[network]\nwidth = 0.0', "network.width"),
        ('name = "x"\n[network]\ngeometry = "crop"', "network.geometry must be one of stretch, stretch-reduced-jpeg"),
        ('name = "x"\n[train]\nstored_size = 96', "at least the largest training size"),
        ('name = "x"\n[train]\nepochs = 0\nhead_epochs = 0', "nothing to train"),
        ('name = "x"\n[train]\nbatch_norm = "off"', "one of frozen, adapt"),
        ('name = "x"\n[train]\nema = 1.0', "train.ema"),
        ('name = "x"\n[retrain]\nclusters = 16', "retrain.clusters must be an odd number"),
        ("name = ", "invalid recipe"),
    ],
)
def test_an_invalid_recipe_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        load_recipe(written(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_recipe_error_lists_all_recipes() -> None:
    with pytest.raises(DataError, match=r"any-images.*spot"):
        load_recipe("spott")


def test_an_unknown_label_set_error_lists_all_label_sets() -> None:
    with pytest.raises(DataError, match="ham10000"):
        load_label_set("ham1000")


def test_ham10000_has_the_three_malignant_classes_of_the_model_card() -> None:
    labels = load_label_set("ham10000").labels
    assert [label.label for label in labels if label.malignant] == ["akiec", "bcc", "mel"]
