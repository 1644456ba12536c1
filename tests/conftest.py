"""What several rooms' tests share: a small run trained on drawn shapes, and the model files made from it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A shell that starts the tests in the background has Ctrl-C ignored, and every process that they start inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"

RECIPE = """
name = "shapes"
[network]
size = 96
[train]
batch = 16
stored_size = 112
head_epochs = 1
epochs = 4
learning_rate = 5e-4
head_learning_rate = 3e-3
ema = 0.5
"""


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of circles, squares and triangles."""
    from spot_bench.drawings import draw_shapes

    folder = tmp_path_factory.mktemp("shapes")
    draw_shapes(folder, per_class=80, seed=3)
    return folder


@pytest.fixture(scope="session")
def restored_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model's run, rebuilt from models/spot."""
    from spot_train.smallrun import restore

    out = tmp_path_factory.mktemp("restored") / "spot"
    restore(REPOSITORY / "models" / "spot", out)
    return out


@pytest.fixture(scope="session")
def shapes_run(shapes: Path, restored_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained on the shapes, from the embedded model's trunk: no download, no data set."""
    from spot_train.cli import train

    folder = tmp_path_factory.mktemp("run")
    (folder / "shapes.toml").write_text(RECIPE)
    run = folder / "run"
    done = _command(
        train, folder / "shapes.toml", "--data", shapes, "--out", run, "--trunk", restored_run / "model.keras"
    )
    assert "balanced accuracy on validation" in done
    assert "images/s" in done
    return run


@pytest.fixture(scope="session")
def shapes_family(shapes_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of model files made from `shapes_run`."""
    from spot_convert.cli import convert

    out = tmp_path_factory.mktemp("family")
    done = _command(convert, shapes_run, "--out", out)
    assert "shapes-int8.tflite" in done
    assert "same first rank" in done
    return out


def _command(command: click.Command, *arguments: object) -> str:
    """What a command of the toolkit prints; it must end well."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="session")
def ham10000(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The HAM10000 manifest with its images beside it, where ../shared/data is there."""
    import shutil
    import tarfile

    data = SHARED / "data"
    if not (data / "ham10000-split.csv").is_file():
        pytest.skip("NOT RUN: HAM10000 is not at ../shared/data: nothing was checked against real images")
    folder = tmp_path_factory.mktemp("ham10000")
    for archive in sorted(data.glob("ham10000-images-*.tar")):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    shutil.copyfile(data / "ham10000-split.csv", folder / "ham10000-split.csv")
    return folder / "ham10000-split.csv"
