"""The commands `train` and `runs`: help, usage, and errors with their exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spot_train.recipes.recipe import known_recipes, load_recipe


def spot_edge(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spot_edge.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_unknown_recipe_is_refused_in_one_line(tmp_path: Path) -> None:
    done = spot_edge("train", "spott", "--data", tmp_path, "--out", tmp_path / "run")
    assert done.returncode == 7
    known = "any-images, ham-top2, inception-binary, spot, spot-check, spot-small"
    assert done.stderr == f"spot-edge: spott: no such recipe file or recipe. The recipes are {known}\n"
    assert not (tmp_path / "run").exists()


def test_list_prints_every_recipe_with_its_description() -> None:
    done = spot_edge("train", "--list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == known_recipes()
    for line in lines:
        assert len(line) <= 120
        assert line[18:] == load_recipe(line.split()[0]).description


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.epoch=3", "spot: train: unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs=3", "spot: unknown key 'epochs'"),
        ("train.epochs=many", "spot: train: epochs must be a whole number, not 'many'"),
        ("train.epochs", "'train.epochs': write a change as key=value, for example train.epochs=3"),
        ("network.backbone=mobilenet_v22", "unknown backbone 'mobilenet_v22': did you mean 'mobilenet_v2'?"),
        ("labels=ham1000", "unknown label set 'ham1000'"),
    ],
)
def test_an_invalid_change_is_refused_in_one_line(change: str, said: str, shapes: Path, tmp_path: Path) -> None:
    done = spot_edge("train", "spot", "--data", shapes, "--out", tmp_path / "run", "--set", change)
    assert done.returncode == 7
    assert said in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("spot-edge:")]) == 1
    assert not (tmp_path / "run").exists()


def test_later_changes_win_and_bare_words_are_strings() -> None:
    changed = load_recipe("spot", ["train.epochs=3", "train.epochs=4", "labels=mine.toml", "train.sizes=[96]"])
    assert (changed.train.epochs, changed.labels, changed.train.sizes) == (4, "mine.toml", (96,))
    assert load_recipe("spot", ["train.class_weights.mel=2"]).train.class_weights == {"mel": 2.0}


@pytest.mark.parametrize("command", ["train", "convert", "pack-run", "restore-run"])
def test_a_call_without_its_arguments_is_a_usage_error(command: str) -> None:
    assert spot_edge(command).returncode == 2


@pytest.mark.parametrize("command", ["pack-run", "restore-run", "convert"])
def test_a_folder_that_is_not_a_run_is_refused_in_one_line(command: str, tmp_path: Path) -> None:
    done = spot_edge(command, tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 7
    assert [line for line in done.stderr.splitlines() if line.startswith("spot-edge:")] == [
        f"spot-edge: {tmp_path}: not a run directory: no readable run.json"
    ]
    assert "Traceback" not in done.stderr


def test_a_run_is_packed_and_restored_by_command(shapes_run: Path, tmp_path: Path) -> None:
    assert spot_edge("pack-run", shapes_run, "--out", tmp_path / "small").returncode == 0
    assert spot_edge("restore-run", tmp_path / "small", "--out", tmp_path / "again", "--data", tmp_path).returncode == 0
    assert (tmp_path / "again" / "model.keras").stat().st_size > 8_000_000


def test_help_of_every_toolkit_command_needs_no_keras() -> None:
    for command in ("train", "convert", "pack-run", "restore-run"):
        code = (
            "import sys; from spot_edge.cli import spot_edge\n"
            f"try: spot_edge.main(['{command}', '--help'], standalone_mode=False)\n"
            "except SystemExit: pass\n"
            "assert not {'keras', 'tensorflow', 'numpy'} & set(sys.modules), sorted(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
