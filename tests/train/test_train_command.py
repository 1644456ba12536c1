"""The commands `train` and `runs`: help, usage, and errors with their exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spot_edge.cli import spot_edge
from spot_edge.errors import DataError
from spot_train.recipes.recipe import known_recipes, load_recipe


def run(*arguments: object) -> Result:
    """Call a command in this process: a process of its own would spend seconds on importing Keras."""
    return CliRunner().invoke(spot_edge, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """Return the message of the DataError that a command ends with."""
    error = run(*arguments).exception
    assert isinstance(error, DataError)
    assert "\n" not in str(error)
    return str(error)


def test_an_unknown_recipe_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spot_edge.cli", "train", "spott", "--data", tmp_path, "--out", tmp_path / "run"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 7
    known = "any-images, ham-top2, inception-binary, spot, spot-check, spot-small, spot-sources, teacher"
    assert done.stderr == f"spot-edge: spott: no such recipe file or recipe. The recipes are {known}\n"
    assert not (tmp_path / "run").exists()


def test_list_prints_every_recipe_with_its_description() -> None:
    done = run("train", "--list")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == known_recipes()
    for line in lines:
        assert len(line) <= 120
        assert line[18:] == load_recipe(line.split()[0]).description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.epoch=3", "spot: train: unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs=3", "spot: unknown key 'epochs'"),
        ("train.epochs=many", "spot: train: epochs must be a whole number, not 'many'"),
        ("train.epochs", "'train.epochs': write a change as key=value, for example train.epochs=3"),
        ("network.backbone=mobilenet_v22", "unknown backbone 'mobilenet_v22': did you mean 'mobilenet_v2'?"),
        ("labels=ham1000", "unknown label set 'ham1000'"),
    ],
)
def test_an_invalid_change_is_refused_in_one_line(change: str, message: str, shapes: Path, tmp_path: Path) -> None:
    assert message in refused("train", "spot", "--data", shapes, "--out", tmp_path / "run", "--set", change)
    assert not (tmp_path / "run").exists()


def test_later_changes_win_and_bare_words_are_strings() -> None:
    changed = load_recipe("spot", ["train.epochs=3", "train.epochs=4", "labels=mine.toml", "train.sizes=[96]"])
    assert (changed.train.epochs, changed.labels, changed.train.sizes) == (4, "mine.toml", (96,))
    assert load_recipe("spot", ["train.class_weights.mel=2"]).train.class_weights == {"mel": 2.0}


@pytest.mark.parametrize(
    "command", [["train"], ["convert"], ["runs", "pack"], ["runs", "restore"], ["runs", "average"]]
)
def test_a_call_without_its_arguments_is_a_usage_error(command: list[str]) -> None:
    assert run(*command).exit_code == 2


@pytest.mark.parametrize("command", ["runs pack", "runs restore", "convert"])
def test_a_folder_that_is_not_a_run_is_refused_in_one_line(command: str, tmp_path: Path) -> None:
    message = refused(*command.split(), tmp_path, "--out", tmp_path / "out")
    assert message == f"{tmp_path}: not a run directory: run.json is missing or unreadable"


def test_a_run_is_packed_and_restored_by_command(shapes_run: Path, tmp_path: Path) -> None:
    done = run("runs", "pack", shapes_run, "--out", tmp_path / "small")
    assert done.exit_code == 0, done.output
    done = run("runs", "restore", tmp_path / "small", "--out", tmp_path / "again", "--data", tmp_path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again" / "model.keras").stat().st_size > 8_000_000


def test_help_of_the_toolkit_commands_imports_nothing_heavy() -> None:
    code = """
import sys
from spot_edge.cli import spot_edge
for command in (["train"], ["runs", "pack"], ["runs", "restore"], ["runs", "average"], ["convert"]):
    try:
        spot_edge.main([*command, "--help"], standalone_mode=False)
    except SystemExit:
        pass
heavy = {"keras", "tensorflow", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage:") == 5
