"""Evaluate a model on an external data set that labels only one of its classes: melanoma, or something else?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from spot_bench.data.inference import infer
from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import describe_model
from spot_bench.stats.calibration import measured_rates
from spot_bench.stats.intervals import bootstrap
from spot_bench.stats.metrics import auc, malignant_score
from spot_edge.errors import DataError

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier

__all__ = ["SCHEMA", "one_vs_rest"]

SCHEMA = 1


def one_vs_rest(
    classifier: Classifier,
    manifest: Manifest,
    positive: str,
    label: str,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure how well the model's score of `label`, and its malignant score, find the images labelled `positive`.

    All other images count as negative, whatever their label. Rates are given at the model's operating points, which
    were chosen on its validation split; nothing is fitted here.
    """
    spec = classifier.model.spec
    names = [known.label for known in spec.labels]
    if label not in names:
        raise DataError(f"{classifier.model.name} has no class {label!r} (it has {', '.join(names)})")
    if positive not in manifest.labels or len(manifest.labels) < 2:
        raise DataError(
            f"{manifest.origin}: needs images labelled {positive!r} and others (it has {', '.join(manifest.labels)})"
        )
    outputs = infer(classifier, manifest, progress)
    kept, scores = outputs.kept, outputs.scores
    truth = np.array([item.label == positive for item in kept])
    groups = np.array([item.group for item in kept])
    own = scores[:, names.index(label)].astype(np.float64)
    top = scores.argmax(axis=1) == names.index(label)
    malignant = malignant_score(scores, np.array([bool(known.malignant) for known in spec.labels]))
    points = []
    for point in spec.operating_points:
        sensitivity, specificity = measured_rates(malignant, truth, point.threshold, groups)
        points.append({"name": point.name, "sensitivity": sensitivity.as_dict(), "specificity": specificity.as_dict()})
    sensitivity, specificity = measured_rates(top.astype(np.float64), truth, 0.5, groups)
    return {
        "schema": SCHEMA,
        "model": describe_model(classifier),
        "data": {"name": manifest.origin.name, "images": len(kept), "positive": int(truth.sum())},
        "skipped": [{"image": image, "reason": reason} for image, reason in outputs.skipped],
        "positive": positive,
        "class": label,
        "auc": bootstrap(auc, groups, truth, own).as_dict(),
        "malignant_auc": bootstrap(auc, groups, truth, malignant).as_dict(),
        "top_class": {"sensitivity": sensitivity.as_dict(), "specificity": specificity.as_dict()},
        "operating_points": points,
    }
