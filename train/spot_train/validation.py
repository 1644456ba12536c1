"""What a trained network does on validation, with intervals over lesions: the `metrics.json` of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench import metrics
from spot_bench.calibration import softmax
from spot_bench.intervals import bootstrap
from spot_train.labelset import LabelSet

__all__ = ["validation_metrics"]


def validation_metrics(
    logits: NDArray[np.float32], truth: NDArray[np.int64], groups: Sequence[str], labels: LabelSet
) -> dict[str, Any]:
    """The JSON-able figures of `logits` (uncalibrated) against `truth`."""
    scores = softmax(logits)

    def estimate(statistic: Any) -> dict[str, Any]:
        return bootstrap(statistic, groups, truth, scores).as_dict()

    recalls, aucs = metrics.recalls(truth, scores), metrics.class_aucs(truth, scores)
    return {
        "schema": 1,
        "part": "val",
        "images": len(truth),
        "groups": len(set(groups)),
        "accuracy": estimate(metrics.accuracy),
        "balanced_accuracy": estimate(metrics.balanced_accuracy),
        "macro_auc": estimate(metrics.macro_auc),
        "ece_uncalibrated": estimate(metrics.ece),
        "brier_uncalibrated": estimate(metrics.brier),
        "classes": {
            label.label: {
                "n": int((truth == index).sum()),
                "recall": _number(recalls[index]),
                "auc": _number(aucs[index]),
            }
            for index, label in enumerate(labels.labels)
        },
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
