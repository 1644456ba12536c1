"""How right a model is where it answers only what it is surest of."""

from __future__ import annotations

from typing import Any

import numpy as np

from spot_bench.intervals import DRAWS, proportion
from spot_bench.metrics import Bools
from spot_bench.predict import Predictions

__all__ = ["SHARES", "selective_curve"]

SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)


def selective_curve(predictions: Predictions, malignant: Bools, draws: int = DRAWS) -> list[dict[str, Any]]:
    """For each of SHARES, among so many of the images with the highest first score: how often the first rank is right,
    and how many malignant lesions' images, of those that are answered, have a benign first rank.

    Images as sure as the last one are answered too.
    """
    p = predictions
    sure, first = p.scores.max(axis=1), p.scores.argmax(axis=1)
    right, missed, of = first == p.truth, malignant[p.truth] & ~malignant[first], malignant[p.truth]
    ordered = np.sort(sure)[::-1]
    curve = []
    for share in SHARES:
        least = ordered[max(1, round(share * len(sure))) - 1]
        answered = sure >= least
        curve.append(
            {
                "share": float(answered.mean()),
                "score": float(least),
                "right": proportion(right[answered], p.groups[answered], draws).as_dict(),
                "malignant_missed": {"count": int(missed[answered].sum()), "of": int(of[answered].sum())},
            }
        )
    return curve
