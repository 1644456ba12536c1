"""The selective curve against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_bench.drift.summary import SHARES, selective_curve


def predictions(scores: list[list[float]], truth: list[int]) -> Predictions:
    rows = np.array(scores, np.float32)
    names = np.array([f"{number}" for number in range(len(rows))])
    return Predictions(("a", "b"), np.array(truth), rows, rows, names, names)


def test_counts_by_hand() -> None:
    top_scores = [0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.62, 0.6, 0.55]
    top = [0, 0, 1, 0, 1, 1, 0, 0, 1, 0]
    truth = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1]  # wrong: the second, sixth, eighth and tenth
    scores = [[s, 1 - s] if f == 0 else [1 - s, s] for s, f in zip(top_scores, top, strict=True)]
    curve = selective_curve(predictions(scores, truth), np.array([False, True]))
    assert [found["share"] for found in curve] == pytest.approx([1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    by_share = {round(found["share"], 1): found for found in curve}
    assert by_share[1.0]["accuracy"]["value"] == pytest.approx(0.6)
    assert by_share[0.5]["accuracy"]["value"] == pytest.approx(0.8)
    assert by_share[0.2]["accuracy"]["value"] == pytest.approx(0.5)
    assert by_share[1.0]["malignant_missed"] == {"count": 3, "of": 6}  # the sixth is benign
    assert by_share[0.5]["malignant_missed"] == {"count": 1, "of": 3}
    assert by_share[0.5]["score"] == pytest.approx(0.75)


def test_equal_scores_are_kept_together() -> None:
    curve = selective_curve(predictions([[0.7, 0.3]] * 6, [0] * 6), np.array([False, True]))
    assert [found["share"] for found in curve] == [1.0] * len(SHARES)
    assert all(found["accuracy"]["value"] == 1 for found in curve)
