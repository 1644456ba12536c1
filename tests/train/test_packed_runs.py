"""Pack a run with float16 weights, and rebuild the run from it."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from spot_edge.errors import DataError
from spot_edge.model.old_names import current_run
from spot_train.runs.packed import WEIGHTS, pack, restore


@pytest.fixture(scope="module")
def packed(shapes_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the shapes, packed."""
    folder = tmp_path_factory.mktemp("packed") / "small"
    pack(shapes_run, folder)
    return folder


def rounded(weights: np.ndarray, bits: int) -> np.ndarray:
    """Weights with `bits` bits of mantissa. Float16 keeps 11."""
    mantissa, exponent = np.frexp(weights)
    return np.asarray(np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent), weights.dtype)


def test_a_restored_run_predicts_like_the_original(shapes_run: Path, packed: Path, tmp_path: Path) -> None:
    """The difference is that of rounding kernels to 11 bits. Kernels with 6 bits, the control, differ much more."""
    restore(packed, tmp_path / "again", tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    original, restored = (keras.saving.load_model(run / "model.keras") for run in (shapes_run, tmp_path / "again"))
    expected = original(images)["evidence"].numpy()
    scale = np.abs(expected).max()

    def difference(body: keras.Model) -> float:
        return float(np.abs(body(images)["evidence"].numpy() - expected).max() / scale)

    assert difference(restored) < 0.02
    coarse = [rounded(w, 6) if w.ndim > 1 else w for w in original.get_weights()]
    restored.set_weights(coarse)
    assert difference(restored) > 0.04


def test_restored_weights_are_the_original_ones_in_float16(shapes_run: Path, packed: Path, tmp_path: Path) -> None:
    restore(packed, tmp_path / "again")
    original, restored = (
        keras.saving.load_model(run / "model.keras").get_weights() for run in (shapes_run, tmp_path / "again")
    )
    assert any(not np.array_equal(one, two) for one, two in zip(original, restored, strict=True))
    for one, two in zip(original, restored, strict=True):
        np.testing.assert_array_equal(two, one.astype(np.float16).astype(np.float32) if one.ndim > 1 else one)


def test_a_restored_run_keeps_its_split_and_names_its_data(shapes_run: Path, packed: Path, tmp_path: Path) -> None:
    restore(packed, tmp_path / "again", tmp_path)
    assert (tmp_path / "again" / "split.csv").read_bytes() == (shapes_run / "split.csv").read_bytes()
    assert json.loads((tmp_path / "again" / "run.json").read_text())["data"] == str(tmp_path)


def test_packing_a_restored_run_changes_nothing(repository: Path, restored_run: Path, tmp_path: Path) -> None:
    small = repository / "models" / "spot"
    pack(restored_run, tmp_path / "small")
    with np.load(small / WEIGHTS) as ours, np.load(tmp_path / "small" / WEIGHTS) as theirs:
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    original, packed_again = (json.loads((run / "run.json").read_text()) for run in (small, tmp_path / "small"))
    assert packed_again == current_run(original)


def test_a_packed_run_names_no_path_of_its_machine(packed: Path) -> None:
    assert json.loads((packed / "run.json").read_text())["data"] is None


@pytest.mark.parametrize("broken", ["", "not an archive"])
def test_weights_that_do_not_fit_are_refused(packed: Path, tmp_path: Path, broken: str) -> None:
    copy = tmp_path / "small"
    copy.mkdir()
    for file in packed.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / WEIGHTS).write_text(broken)
    with pytest.raises(DataError, match="does not fit"):
        restore(copy, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run directory"):
        restore(tmp_path, tmp_path / "again")
