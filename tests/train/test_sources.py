"""Manifests of extra sources: class maps, refusals, leaks, provenance."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from spot_bench.data.manifest import read_manifest, write_manifest
from spot_bench.run.directory import read_sources
from spot_edge.errors import DataError
from spot_train.data.extra import class_sets, with_sources, write_sources
from spot_train.labels.labelset import load_label_set
from spot_train.loop.session import Task, read_task, train_run
from spot_train.recipes.recipe import load_recipe
from spot_train.runs.directory import describe_run


def task(mixed: Path, *changes: str, log: Any = lambda line: None, **paths: Path) -> Task:
    named = {"partial": mixed / "partial.csv", "first": mixed / "first"} | paths
    return read_task(load_recipe(str(mixed / "mixed.toml"), changes), mixed / "data.csv", log, named)


def edited(path: Path, out: Path, change: dict[str, str], row: int = 1) -> Path:
    """A copy of the manifest with another value in one row."""
    with open(path, newline="") as file:
        cells = list(csv.DictReader(file))
    cells[row] |= change
    with open(out, "w", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)
    return out


def test_only_training_rows_of_a_source_are_read(mixed: Path) -> None:
    partial, first = task(mixed).extras
    assert len(partial.manifest.items) == 18
    assert len(first.manifest.items) == 24  # a folder without a split
    assert class_sets((partial, first)) == ((1, 2),)
    assert partial.counts(["circle", "square", "triangle"]) == {"circle": 6, "square|triangle": 12}


def test_manifests_that_do_not_fit_the_recipe_are_refused(mixed: Path, tmp_path: Path) -> None:
    odd = edited(mixed / "partial.csv", mixed / "odd.csv", {"label": "flat"})
    for wrong, message in (
        ({"partial": odd}, r"the label 'flat' is no class. Add it to the classes of source 'partial'"),
        ({"partial": tmp_path / "none.csv"}, "no such file or folder"),
        ({"other": odd}, "the recipe does not name this source; its sources are first, partial"),
    ):
        with pytest.raises(DataError, match=message):
            task(mixed, **wrong)
    with pytest.raises(DataError, match=r"add --source partial=MANIFEST"):
        train_run(load_recipe(str(mixed / "mixed.toml")), mixed / "data.csv", tmp_path / "run", log=lambda line: None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("square", "cube", "angular names the class 'cube', which is none of circle, square, triangle"),
        ('["square"', '["circle", "square"', "angular allows every class, so its images teach nothing"),
    ],
)
def test_a_class_map_must_fit_the_classes(mixed: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "mixed.toml").write_text((mixed / "mixed.toml").read_text().replace(old, new))
    named = {"partial": mixed / "partial.csv", "first": mixed / "first"}
    with pytest.raises(DataError, match=message):
        read_task(load_recipe(str(tmp_path / "mixed.toml")), mixed / "data.csv", lambda line: None, named)


def test_a_class_that_only_pretraining_shows_is_refused(mixed: Path) -> None:
    """It would be forgotten, and has no weight."""
    manifest = read_manifest(mixed / "data.csv")
    items = tuple(item for item in manifest.items if (item.label, item.split) != ("triangle", "train"))
    write_manifest(dataclasses.replace(manifest, items=items), mixed / "few.csv")
    named = {"partial": mixed / "partial.csv", "first": mixed / "first"}
    with pytest.raises(DataError, match=r"no training image is labelled 'triangle' \(sources with pretrain_only"):
        read_task(load_recipe(str(mixed / "mixed.toml")), mixed / "few.csv", lambda line: None, named)


def test_a_source_that_trains_on_held_out_images_is_refused(mixed: Path) -> None:
    manifest = read_manifest(mixed / "data.csv")
    held_out = manifest.split("test").items[0]
    copied = mixed / "partial" / "circle" / f"{held_out.image.stem.upper()}_DOWNSAMPLED.jpg"
    copied.write_bytes(held_out.image.read_bytes())
    name = str(copied.relative_to(mixed))
    same_id = edited(mixed / "partial.csv", mixed / "same-id.csv", {"image": name, "group": "x"})
    with pytest.raises(DataError, match=r"1 leak: source partial may train on .*the same id as .* \(test, data\.csv\)"):
        task(mixed, partial=same_id)
    of_data = edited(mixed / "data.csv", mixed / "grouped.csv", {"group": "lesion", "split": "val"})
    of_source = edited(mixed / "partial.csv", mixed / "same-group.csv", {"group": "lesion"})
    named = {"partial": of_source, "first": mixed / "first"}
    with pytest.raises(DataError, match=r"has the same group as .* \(val, grouped\.csv\)"):
        read_task(load_recipe(str(mixed / "mixed.toml")), of_data, lambda line: None, named)


def test_a_repeated_training_image_is_noted(mixed: Path) -> None:
    manifest = read_manifest(mixed / "data.csv")
    item = manifest.split("train").items[0]
    again = edited(mixed / "partial.csv", mixed / "again.csv", {"image": manifest.name(item), "group": "x"})
    notes: list[str] = []
    task(mixed, partial=again, log=notes.append)
    assert "note: source partial repeats 1 training image of the data" in notes


def test_provenance_is_added_to_the_description_of_a_run(mixed: Path, repository: Path) -> None:
    given, recipe = task(mixed), load_recipe(str(mixed / "mixed.toml"))
    plain = describe_run(recipe, given.labels, mixed / "data.csv", mixed, "none")
    assert with_sources(plain, ()) == plain
    plain["training"] = {"data": "shapes", "licence": "", "notice": "n"}
    run = with_sources(plain, given.extras)
    assert run["training"] == {
        "data": "shapes; A. Author 2020 (18 images); first (24 images)",
        "licence": "partial: CC BY 4.0; first: CC0",
        "notice": "n",
    }
    partial, first = run["sources"]
    assert partial["classes"] == {"circle": 6, "square|triangle": 12}
    assert partial["sha256"] == hashlib.sha256((mixed / "partial.csv").read_bytes()).hexdigest()
    assert first["pretrain_only"]
    schema = json.loads((repository / "docs" / "reference" / "schemas" / "run.schema.json").read_text())
    Draft202012Validator(schema).validate(run)
    first["path"] = "elsewhere"
    assert not Draft202012Validator(schema).is_valid(run)


def test_the_path_of_a_manifest_is_not_part_of_what_is_resumed(mixed: Path, tmp_path: Path) -> None:
    shutil.copytree(mixed / "first", tmp_path / "moved")
    assert task(mixed, first=tmp_path / "moved").digest() == task(mixed).digest()
    (tmp_path / "moved" / "circle").rename(tmp_path / "moved" / "triangles")
    shutil.move(tmp_path / "moved" / "triangles", tmp_path / "moved" / "square" / "more")
    assert task(mixed, first=tmp_path / "moved").digest() != task(mixed).digest()


def test_ak_and_scc_may_be_apart_or_together(tmp_path: Path) -> None:
    """Eight classes, of which one source tells AK from SCC, and another one has both as akiec."""
    eight = [label.label for label in load_label_set("isic2019").labels]

    def manifest(name: str, labels: list[str], *splits: str) -> Path:
        rows = [f"{name}-{label}-{split}.jpg,{label},{split}" for label in labels for split in splits]
        for row in rows:
            (tmp_path / row.partition(",")[0]).touch()
        (tmp_path / f"{name}.csv").write_text("\n".join(["image,label,split", *rows]))
        return tmp_path / f"{name}.csv"

    (tmp_path / "recipe.toml").write_text(
        'name = "eight"\nlabels = "isic2019"\n[[sources]]\nname = "apart"\nlicence = "x"\n'
        '[[sources]]\nname = "together"\nlicence = "x"\n[sources.classes]\nakiec = ["akiec", "scc"]\n'
    )
    data = manifest("data", [name for name in eight if name != "scc"], "train", "val")
    named = {
        "apart": manifest("apart", ["AK", "SCC", "MEL"], "train"),
        "together": manifest("together", ["akiec", "mel"], "train", "test"),
    }
    given = read_task(load_recipe(str(tmp_path / "recipe.toml")), data, lambda line: None, named)
    apart, together = given.extras
    assert apart.counts(eight) == {"akiec": 1, "mel": 1, "scc": 1}  # scc is learned from this source alone
    assert together.counts(eight) == {"akiec|scc": 1, "mel": 1}


def test_a_run_keeps_which_images_its_sources_trained_on(mixed: Path, tmp_path: Path) -> None:
    extras = task(mixed).extras
    write_sources(extras, tmp_path)
    first, partial = read_sources(tmp_path)  # by name
    for found, extra in zip((partial, first), extras, strict=True):
        assert found.origin == tmp_path / "sources" / f"{extra.source.name}.csv"
        expected = [(extra.manifest.name(item), item.label, item.group) for item in extra.manifest.items]
        assert [(found.name(item), item.label, item.group) for item in found.items] == expected
        assert found.splits == ("train",)
