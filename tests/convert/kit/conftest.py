"""The kit that these tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from imitation import run_command

from spot_convert.commands import kit as cli


@pytest.fixture(scope="session")
def kit(made_once) -> Path:
    """The kit of the embedded model."""

    def make(folder: Path) -> None:
        done = run_command(cli.kit.commands["export"], "--out", folder / "kit")
        assert done.exit_code == 0, done.output
        said, where = done.output.splitlines()
        assert said.startswith(f"{folder / 'kit'}: a model, 11 test images and their scores (")
        assert where == f"Start with {folder / 'kit' / 'README.md'}."

    return made_once("kit", make) / "kit"
