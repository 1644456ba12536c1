"""`spot-edge train` with sources: its option, and a training that is interrupted and resumed."""

from __future__ import annotations

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner, Result

from spot_bench.run.directory import read_sources
from spot_train.commands.train import train as command
from spot_train.loop.fit import training_body
from spot_train.loop.progress import Progress
from spot_train.recipes.recipe import load_recipe
from spot_train.runs.packed import pack, restore


def run_command(mixed: Path, out: Path, *options: str) -> Result:
    sources = ["--source", f"partial={mixed / 'partial.csv'}", "--source", f"first={mixed / 'first'}"]
    data = ["--data", str(mixed / "data.csv"), "--weights", "none"]
    return CliRunner().invoke(command, [str(mixed / "mixed.toml"), *data, *sources, "--out", str(out), *options])


@pytest.mark.parametrize(
    ("source", "message"), [("partial", "is not NAME=MANIFEST"), ("first=x", "first is given twice")]
)
def test_source_options_are_names_with_manifests(mixed: Path, tmp_path: Path, source: str, message: str) -> None:
    done = run_command(mixed, tmp_path / "run", "--source", source)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.long
def test_a_training_with_sources_resumes_to_the_same_bits(mixed: Path, tmp_path: Path) -> None:
    whole = run_command(mixed, tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    report = Progress.step

    def stop_after_the_first_epoch(
        self: Progress, phase: str, epoch: int, epochs: int, share: float, *figures: Any
    ) -> None:
        report(self, phase, epoch, epochs, share, *figures)
        if share == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "step", stop_after_the_first_epoch)
        assert run_command(mixed, tmp_path / "resumed").exit_code == 130
    done = run_command(mixed, tmp_path / "resumed", "--resume")
    assert done.exit_code == 0, done.output
    assert "2/3" in done.output
    assert "1/3" not in done.output
    runs = (tmp_path / "whole", tmp_path / "resumed")
    one, other = (keras.saving.load_model(run / "model.keras", compile=False).get_weights() for run in runs)
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    fresh = training_body(load_recipe(str(mixed / "mixed.toml")), 3).get_weights()
    assert max(np.abs(ours - before).max() for ours, before in zip(one, fresh, strict=True)) > 0.01  # it learned
    written = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert [source["name"] for source in written["sources"]] == ["partial", "first"]
    pack(tmp_path / "whole", tmp_path / "small")
    restore(tmp_path / "small", tmp_path / "again")
    for run in ("whole", "small", "again"):
        kept = read_sources(tmp_path / run)
        assert [(part.origin.name, len(part.items)) for part in kept] == [("first.csv", 24), ("partial.csv", 18)]
    with open(tmp_path / "whole" / "history.csv", newline="") as file:
        assert all(0 <= float(row["accuracy"]) <= 1 for row in csv.DictReader(file))
