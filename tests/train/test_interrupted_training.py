"""A killed or interrupted training resumes, and ends with the same result as an uninterrupted one."""

from __future__ import annotations

import csv
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.drawn import draw_shapes

RECIPE = """
name = "brief"
[network]
width = 0.35
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
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brief")
    draw_shapes(folder / "data", per_class=60, seed=5)
    (folder / "brief.toml").write_text(RECIPE)
    return folder


def start(data: Path, out: Path, *more: object, **how: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spot_edge.cli", "train", data / "brief.toml", "--data", data / "data"]
    command += ["--out", out, "--weights", "none", *more]
    return subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True, **how)  # type: ignore[call-overload,no-any-return]


def trained(data: Path, out: Path, *more: object, **how: object) -> tuple[int, str]:
    with start(data, out, *more, **how) as process:
        message = process.communicate()[1]
    return process.returncode, message


def stopped_after_the_first_epoch(data: Path, out: Path, number: signal.Signals) -> tuple[int, str]:
    with start(data, out) as process:
        assert process.stderr is not None
        message = ""
        for line in process.stderr:
            message += line
            if "all   1/3  32 px" in line:
                process.send_signal(number)
                break
        message += process.stderr.read()
    return process.returncode, message


def weights(run: Path) -> list[np.ndarray]:
    import keras

    return keras.saving.load_model(run / "model.keras", compile=False).get_weights()  # type: ignore[no-any-return]


def history(run: Path) -> list[dict[str, str]]:
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def uninterrupted(data: Path) -> Path:
    code, message = trained(data, data / "whole")
    assert code == 0, message
    return data / "whole"


@pytest.fixture(scope="module")
def killed(data: Path) -> Path:
    code, message = stopped_after_the_first_epoch(data, data / "killed", signal.SIGKILL)
    assert code == -signal.SIGKILL, message
    assert not (data / "killed").exists()
    assert (data / "killed.unfinished" / "state.npz").is_file()
    return data / "killed"


def test_an_unfinished_training_is_not_overwritten(data: Path, killed: Path) -> None:
    code, message = trained(data, killed)
    assert code == 6
    assert "unfinished training. Continue it with --resume, or remove the folder" in message


def test_another_recipe_does_not_resume_it(data: Path, killed: Path) -> None:
    code, message = trained(data, killed, "--resume", "--set", "train.seed=2")
    assert code == 7
    assert "started with different recipe" in message


def test_a_killed_training_resumes_to_the_same_result(data: Path, killed: Path, uninterrupted: Path) -> None:
    code, message = trained(data, killed, "--resume")
    assert code == 0, message
    assert "all   1/3  32 px" not in message  # that epoch is not repeated
    assert not killed.with_name("killed.unfinished").exists()
    for one, other in zip(weights(killed), weights(uninterrupted), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    rows, whole = history(killed), history(uninterrupted)
    assert [r["epoch"] for r in rows] == ["1", "2", "3"]
    assert [float(r["loss"]) for r in rows] == pytest.approx([float(r["loss"]) for r in whole], abs=1e-3)


def test_ctrl_c_leaves_a_checkpoint_between_two_steps(data: Path) -> None:
    code, message = stopped_after_the_first_epoch(data, data / "stopped", signal.SIGINT)
    assert code == 130, message
    assert "resume with --resume" in message
    assert "Traceback" not in message
    assert not (data / "stopped").exists()
    code, message = trained(data, data / "stopped", "--resume")
    assert code == 0, message
    assert [row["epoch"] for row in history(data / "stopped")] == ["1", "2", "3"]


def test_resuming_without_an_unfinished_training_is_refused(data: Path) -> None:
    code, message = trained(data, data / "none", "--resume")
    assert code == 7
    assert "no unfinished training to resume" in message


def test_a_full_disk_is_reported_in_one_line_and_leaves_nothing(data: Path) -> None:
    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))

    code, message = trained(data, data / "full", preexec_fn=limit_file_size)
    assert code == 6, message
    assert "state.npz: cannot be written: File too large" in message
    assert "Traceback" not in message
    assert not list(data.glob("full*"))
