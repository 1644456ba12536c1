"""A killed or interrupted training resumes, and ends with the same result as an uninterrupted one."""

from __future__ import annotations

import csv
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from spot_bench.data.drawn import draw_shapes
from spot_edge.errors import DataError, OutputError, SpotError
from spot_train.commands.train import train
from spot_train.loop.fit import training_body
from spot_train.recipes.recipe import load_recipe

pytestmark = pytest.mark.long

RECIPE = """
name = "brief"
[network]
backbone = "mobilenet"
width = 0.25
size = 32
[train]
batch = 8
stored_size = 40
head_epochs = 0
epochs = 3
schedule = "cosine"
mixup = 0.2
balance = 0.5
ema = 0.8
batch_norm = "adapt"  # with frozen statistics, random weights hardly learn
batch_norm_momentum = 0.8
learning_rate = 1e-2
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brief")
    draw_shapes(folder / "data", per_class=60, seed=5)
    (folder / "brief.toml").write_text(RECIPE)
    return folder


def arguments(data: Path, out: Path, *options: str) -> list[str]:
    return [str(data / "brief.toml"), "--data", str(data / "data"), "--out", str(out), "--weights", "none", *options]


def trained(data: Path, out: Path, *options: str) -> str:
    """Train to the end in this process, and return what the command prints."""
    done = CliRunner().invoke(train, arguments(data, out, *options), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(data: Path, out: Path, kind: type[SpotError], *options: str) -> str:
    error = CliRunner().invoke(train, arguments(data, out, *options)).exception
    assert isinstance(error, kind)
    return str(error)


def start(data: Path, out: Path, *python: str, **how: Any) -> tuple[int, str]:
    """Train in a process of its own: its exit code and what it prints on stderr."""
    command = [sys.executable, *(python or ("-m", "spot_edge.cli")), "train", *arguments(data, out)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False, **how)
    return done.returncode, done.stderr


def stopped_in_the_second_epoch(data: Path, out: Path, number: signal.Signals) -> tuple[int, str]:
    """Train in a process that signals itself at a step of the second epoch, so that no clock is involved."""
    code = f"""
import os
from spot_train.loop.progress import Progress
from spot_edge.cli import main
report = Progress.step
def step(self, phase, epoch, *figures):
    report(self, phase, epoch, *figures)
    if epoch == 2:
        os.kill(os.getpid(), {int(number)})
        Progress.step = report
Progress.step = step
main()
"""
    return start(data, out, "-c", code)


def weights(run: Path) -> list[np.ndarray]:
    return keras.saving.load_model(run / "model.keras", compile=False).get_weights()  # type: ignore[no-any-return]


def history(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def killed(data: Path) -> Path:
    code, output = stopped_in_the_second_epoch(data, data / "killed", signal.SIGKILL)
    assert code == -signal.SIGKILL, output
    assert not (data / "killed").exists()
    assert (data / "killed.unfinished" / "state.npz").is_file()
    return data / "killed"


def test_an_unfinished_training_is_not_overwritten(data: Path, killed: Path) -> None:
    assert "unfinished training. Continue it with --resume" in refused(data, killed, OutputError)


def test_another_recipe_does_not_resume_it(data: Path, killed: Path) -> None:
    message = refused(data, killed, DataError, "--resume", "--set", "train.seed=2")
    assert "started with different recipe" in message


def test_a_killed_training_resumes_to_the_same_result(data: Path, killed: Path) -> None:
    trained(data, data / "whole")
    output = trained(data, killed, "--resume")
    assert "all   1/3  32 px" not in output  # that epoch is not repeated
    assert not killed.with_name("killed.unfinished").exists()
    for one, other in zip(weights(killed), weights(data / "whole"), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    fresh = training_body(load_recipe(str(data / "brief.toml")), 3).get_weights()
    assert max(np.abs(one - other).max() for one, other in zip(weights(killed), fresh, strict=True)) > 0.01
    rows, whole = history(killed), history(data / "whole")
    assert [r["epoch"] for r in rows] == ["1", "2", "3"]
    assert [float(r["loss"]) for r in rows] == pytest.approx([float(r["loss"]) for r in whole], abs=1e-3)


def test_ctrl_c_leaves_a_checkpoint_between_two_steps(data: Path) -> None:
    code, output = stopped_in_the_second_epoch(data, data / "stopped", signal.SIGINT)
    assert code == 130, output
    assert "resume with --resume" in output
    assert "Traceback" not in output
    assert not (data / "stopped").exists()
    trained(data, data / "stopped", "--resume")
    assert [row["epoch"] for row in history(data / "stopped")] == ["1", "2", "3"]


def test_resuming_without_an_unfinished_training_is_refused(data: Path) -> None:
    assert "no unfinished training to resume" in refused(data, data / "none", DataError, "--resume")


def test_a_full_disk_is_reported_in_one_line_and_leaves_nothing(data: Path) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (900_000, 900_000))

    code, output = start(data, data / "full", preexec_fn=limit_file_size)
    assert code == 6, output
    assert "state.npz: cannot be written: File too large" in output
    assert "Traceback" not in output
    assert not list(data.glob("full*"))
