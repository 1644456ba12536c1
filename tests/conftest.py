"""Fixtures for the tests of all packages: a small run trained on drawn shapes, and its model files."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import click
import pytest
from click.testing import CliRunner

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A shell ignores Ctrl-C for tests that it starts in the background, and their subprocesses inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"

MadeOnce: TypeAlias = Callable[[str, Callable[[Path], None]], Path]

# This recipe surely learns: tests/system/test_chain.py measures by how much. Adapting batch norm makes it learn faster;
# small images and frozen first layers make each step cheap.
RECIPE = """
name = "shapes"
[network]
size = 64
[augment]
zoom = [1.0, 1.0]
stretch = 0.0
shift = 0.0
brightness = 0.0
contrast = 0.0
saturation = 0.0
illuminant = 0.0
[train]
batch = 16
stored_size = 64
head_epochs = 0
epochs = 10
learning_rate = 1e-3
frozen_layers = 54
batch_norm = "adapt"
batch_norm_momentum = 0.8
ema = 0.5
validate_every = 10
"""

LONG = {"shapes_run", "shapes_family"}  # fixtures that train or convert for a minute


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that waits for one of these fixtures as long: `make test` leaves it to `make test-all`."""
    for item in items:
        if LONG & set(getattr(item, "fixturenames", ())):
            item.add_marker("long")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def peak() -> str:
    """The source of a function peak(): the largest memory of the process so far, in kilobytes."""
    return """
def peak():
    import re, resource, sys
    try:
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
    except (OSError, TypeError):  # getrusage includes the parent process
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
"""


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """made_once(name, make): a folder filled by make(folder), only once for all test processes."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = shared / f"once-{name}", shared / f"once-{name}.done"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def shapes(made_once: MadeOnce) -> Path:
    """Class folders of circles, squares and triangles."""
    from spot_bench.data.drawn import draw_shapes

    return made_once("shapes", lambda folder: draw_shapes(folder, per_class=80, seed=3))


@pytest.fixture(scope="session")
def restored_run(made_once: MadeOnce) -> Path:
    """The embedded model's run, rebuilt from models/spot."""
    from spot_train.runs.packed import restore

    return made_once("restored", lambda folder: restore(REPOSITORY / "models" / "spot", folder / "spot")) / "spot"


@pytest.fixture(scope="session")
def shapes_run(shapes: Path, restored_run: Path, made_once: MadeOnce) -> Path:
    """A run trained on the shapes from the embedded model's weights. It needs no download."""
    from spot_train.commands.train import train

    def make(folder: Path) -> None:
        recipe, weights = folder / "shapes.toml", restored_run / "model.keras"
        recipe.write_text(RECIPE)
        done = _command(train, recipe, "--data", shapes, "--out", folder / "run", "--weights", weights)
        assert "balanced accuracy on validation" in done
        assert "images/s" in done

    return made_once("run", make) / "run"


@pytest.fixture(scope="session")
def shapes_family(shapes_run: Path, made_once: MadeOnce) -> Path:
    """The folder of model files made from `shapes_run`."""
    from spot_convert.commands.convert import convert

    def make(folder: Path) -> None:
        done = _command(convert, shapes_run, "--out", folder)
        assert "shapes-int8.tflite" in done
        assert "same top class" in done

    return made_once("family", make)


def _command(command: click.Command, *arguments: object) -> str:
    """Run a command that must succeed, and return its output."""
    done = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="session")
def ham10000(made_once: MadeOnce) -> Path:
    """The HAM10000 manifest with its images beside it. Skips without ../shared/data."""
    import shutil
    import tarfile

    data = SHARED / "data"
    if not (data / "ham10000-split.csv").is_file():
        pytest.skip("NOT RUN: HAM10000 is not at ../shared/data, so nothing was checked against real images")

    def make(folder: Path) -> None:
        for archive in sorted(data.glob("ham10000-images-*.tar")):
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        shutil.copyfile(data / "ham10000-split.csv", folder / "ham10000-split.csv")

    return made_once("ham10000", make) / "ham10000-split.csv"
