"""A run in small, and the run rebuilt from it."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from spot_edge.errors import DataError
from spot_train.runs.packed import WEIGHTS, pack, restore


def test_a_restored_run_answers_as_the_one_it_was_packed_from(shapes_run: Path, tmp_path: Path) -> None:
    pack(shapes_run, tmp_path / "small")
    restore(tmp_path / "small", tmp_path / "again", tmp_path)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), dtype=np.uint8)
    one, two = (keras.saving.load_model(run / "model.keras") for run in (shapes_run, tmp_path / "again"))
    np.testing.assert_allclose(one(pictures)["evidence"], two(pictures)["evidence"], atol=0.25)
    assert (tmp_path / "again" / "split.csv").read_bytes() == (shapes_run / "split.csv").read_bytes()
    assert json.loads((tmp_path / "again" / "run.json").read_text())["data"] == str(tmp_path)


def test_packing_a_restored_run_changes_nothing(repository: Path, restored_run: Path, tmp_path: Path) -> None:
    small = repository / "models" / "spot"
    pack(restored_run, tmp_path / "small")
    with np.load(small / WEIGHTS) as ours, np.load(tmp_path / "small" / WEIGHTS) as theirs:
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    assert (tmp_path / "small" / "run.json").read_bytes() == (small / "run.json").read_bytes()


def test_a_small_run_names_no_path_of_the_machine_it_was_made_on(shapes_run: Path, tmp_path: Path) -> None:
    pack(shapes_run, tmp_path / "small")
    assert json.loads((tmp_path / "small" / "run.json").read_text())["data"] is None


@pytest.mark.parametrize("broken", ["", "not an archive"])
def test_weights_that_do_not_fit_are_refused(shapes_run: Path, tmp_path: Path, broken: str) -> None:
    pack(shapes_run, tmp_path / "small")
    (tmp_path / "small" / WEIGHTS).write_text(broken)
    with pytest.raises(DataError, match=r"does not fit|cannot be"):
        restore(tmp_path / "small", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        restore(tmp_path, tmp_path / "again")
