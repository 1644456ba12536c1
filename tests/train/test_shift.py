"""`spot-edge runs shift`: the logits move by the log of the class shares, and the run says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from spot_bench.data.manifest import Item, Manifest
from spot_bench.stats.intervals import Estimate
from spot_edge.errors import DataError
from spot_train.commands.runs import runs
from spot_train.labels.labelset import load_label_set
from spot_train.recipes.recipe import load_recipe, recipe_hash
from spot_train.runs.directory import describe_run
from spot_train.runs.shift import Change, change_lines, class_shares, compare_factors, shift_run


def train_images(**counts: int) -> Manifest:
    items = [
        Item(Path(f"{label}{number}.png"), label, f"{label}{number}", "train")
        for label, count in counts.items()
        for number in range(count)
    ]
    return Manifest(tuple(items), Path(), "test")


def source(weight: float = 1.0, pretrain_only: bool = False, **classes: int) -> dict[str, object]:
    named = {name.replace("_or_", "|"): count for name, count in classes.items()}
    return {"weight": weight, "pretrain_only": pretrain_only, "classes": named}


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([], [60, 30, 10]),
        ([source(weight=2.0, mel=5)], [60, 30, 20]),
        ([source(nv_or_bkl=90)], [120, 60, 10]),
        ([source(mel=40, pretrain_only=True)], [60, 30, 10]),
    ],
)
def test_class_shares_are_those_of_the_images_that_an_epoch_shows(
    sources: list[dict[str, object]], expected: list[float]
) -> None:
    shares = class_shares(train_images(nv=60, bkl=30, mel=10), ["nv", "bkl", "mel"], sources)
    np.testing.assert_allclose(shares, np.array(expected) / sum(expected))


def test_a_class_without_training_images_has_a_finite_logarithm() -> None:
    shares = class_shares(train_images(nv=3), ["nv", "mel"], [])
    assert np.isfinite(np.log(shares)).all()


def test_the_table_has_a_row_per_factor() -> None:
    figure = Estimate(0.0123, -0.004, 0.03, 10, 9)
    lines = change_lines([Change(0.2, figure, figure, {"mel": figure})])
    assert lines[0].split() == ["factor", "balanced", "accuracy", "accuracy", "recall", "mel"]
    assert lines[1] == "0.2     +1.2 (-0.4 to +3.0)  +1.2 (-0.4 to +3.0)  +1.2"


def test_by_and_out_belong_together(tmp_path: Path) -> None:
    for options in (["--by", "0.2"], ["--out", str(tmp_path / "new")]):
        done = CliRunner().invoke(runs, ["shift", str(tmp_path), *options])
        assert done.exit_code == 2
        assert "--by and --out belong together" in done.output


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        shift_run(tmp_path, 0.2, None, tmp_path / "new", print)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("options", [[], ["--by", "0.2", "--out", "new"]])
def test_a_packed_run_is_refused_before_images_are_read(repository: Path, tmp_path: Path, options: list[str]) -> None:
    given = ["shift", repository / "models" / "spot", "--data", tmp_path / "none", *options]
    done = CliRunner().invoke(runs, list(map(str, given)))
    assert isinstance(done.exception, DataError)
    assert str(done.exception).endswith(
        "spot: cannot open its model.keras. Restore a packed run with `spot-edge runs restore`"
    )


def test_training_with_the_factor_says_so(tmp_path: Path, repository: Path) -> None:
    schema = json.loads((repository / "docs" / "reference" / "schemas" / "run.schema.json").read_text())
    (tmp_path / "split.csv").write_text("image,label\n")
    for factor, said in (("0", None), ("0.2", "favors rare classes: each logit is lowered by 0.2 log(class share")):
        recipe = load_recipe("spot", [f"train.shift_to_balance={factor}"])
        about = describe_run(recipe, load_label_set("ham10000"), tmp_path / "split.csv", None, "none")
        assert about["training"].get("top_class", "").startswith(said or "")
        assert ("top_class" in about["training"]) == (said is not None)
        Draft202012Validator(schema).validate(about)


@pytest.mark.long
def test_the_shifted_run_is_the_one_that_training_would_have_made(shapes_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(shapes_run, run)
    rows = (run / "split.csv").read_text().splitlines(keepends=True)
    kept = [row for n, row in enumerate(rows) if not (row.endswith(",train\n") and "circle" in row and n % 2)]
    (run / "split.csv").write_text("".join(kept))  # circles become rarer
    shift_run(run, 0.5, None, tmp_path / "shifted", print)
    shift_run(tmp_path / "shifted", 0.0, None, tmp_path / "back", print)

    def bias(of: Path) -> np.ndarray:
        return keras.saving.load_model(of / "model.keras", compile=False).get_layer("evidence").get_weights()[1]

    train = [row.split(",")[1] for row in kept if row.endswith(",train\n")]
    shares = np.array([train.count(name) for name in ("circle", "square", "triangle")]) / len(train)
    assert shares[0] < shares[1]
    np.testing.assert_allclose(bias(tmp_path / "shifted"), bias(run) - 0.5 * np.log(shares), atol=1e-6)
    np.testing.assert_allclose(bias(tmp_path / "back"), bias(run), atol=1e-6)
    about, recipe = json.loads((tmp_path / "shifted" / "run.json").read_text()), tmp_path / "shifted" / "recipe.toml"
    assert load_recipe(str(recipe)).train.shift_to_balance == 0.5
    assert about["recipe_sha256"] == recipe_hash(load_recipe(str(recipe)))
    assert about["training"]["top_class"].startswith("favors rare classes")
    assert "top_class" not in json.loads((tmp_path / "back" / "run.json").read_text())["training"]
    before, after = (json.loads((of / "metrics.json").read_text()) for of in (tmp_path / "back", tmp_path / "shifted"))
    changes = {change.factor: change for change in compare_factors(run, None, print)}
    difference = after["balanced_accuracy"]["value"] - before["balanced_accuracy"]["value"]
    assert changes[0.5].balanced_accuracy.value == pytest.approx(difference, abs=1e-4)
    assert (tmp_path / "shifted" / "validation.md").read_text() != ""
