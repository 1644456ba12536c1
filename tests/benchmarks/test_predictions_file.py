"""Saving and loading predictions files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions, load_predictions, save_predictions
from spot_edge.errors import DataError, OutputError
from spot_edge.model.spec import Conformal, OperatingPoint, Rate, SetThreshold

RATE = Rate(0.9, 0.8, 0.95, 40)
PREDICTIONS = Predictions(
    labels=("mel", "nävus"),
    truth=np.array([0, 1]),
    scores=np.array([[0.7, 0.3], [0.1, 0.9]], np.float32),
    logits=np.array([[1.0, 0.2], [-1.0, 1.2]], np.float32),
    groups=np.array(["L1", "L2"]),
    images=np.array(["a.jpg", "ü.jpg"]),
    skipped=(("c.jpg", "c.jpg: empty"),),
    model={"name": "toy"},
    malignant=(True, None),
    operating_points=(OperatingPoint("sensitivity-90", 0.25, RATE, RATE, "validation"),),
    conformal=Conformal(SetThreshold(0.9, 0.2, 745), {"mel": SetThreshold(0.95, 0.01, 61)}, "validation"),
)


def test_predictions_read_back(tmp_path: Path) -> None:
    save_predictions(PREDICTIONS, tmp_path / "p.npz")
    found = load_predictions(tmp_path / "p.npz")
    for name in ("truth", "scores", "logits", "groups", "images"):
        before, after = getattr(PREDICTIONS, name), getattr(found, name)
        assert before.dtype == after.dtype
        assert before.tolist() == after.tolist()
    for name in ("labels", "skipped", "model", "malignant", "operating_points", "conformal"):
        assert getattr(PREDICTIONS, name) == getattr(found, name)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 half a zip"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"p\.npz: not a predictions file"):
        load_predictions(path)


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", weights=np.zeros(3))
    with pytest.raises(DataError, match="not a predictions file"):
        load_predictions(tmp_path / "p.npz")
    np.save(tmp_path / "q.npy", np.zeros(3))
    with pytest.raises(DataError, match="not a predictions file"):
        load_predictions(tmp_path / "q.npy")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_predictions(tmp_path / "p.npz")
    with pytest.raises(OutputError, match="cannot be written"):
        save_predictions(PREDICTIONS, tmp_path / "missing" / "p.npz")
