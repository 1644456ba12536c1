"""The limits beyond which a picture is not judged: chosen on validation, so that few good pictures are refused."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_bench.stats.intervals import proportion
from spot_convert.checks.embedding import ood_distances
from spot_edge.image.appearance import APPEARANCE
from spot_edge.image.quality import CHECKS, OOD, findings
from spot_edge.model.spec import QualityLimits, Rate
from spot_edge.prediction.ood import OodReference

__all__ = ["FEWEST", "choose_limits"]

FEWEST = 200  # validation images: among fewer, the worst of them says little about what is still good
REFUSED = {  # share of the validation images that each limit refuses
    "sharpness": 0.002,
    "light": 0.001,
    "white": 0.004,
    "black": 0.001,
    "contrast": 0.001,
    OOD: 0.008,
}


def choose_limits(
    ood_reference: OodReference, validation: Predictions, judged: Predictions, measured_on: str
) -> QualityLimits | None:
    """The limits of each check on `validation`, and what share of `judged` they refuse together.

    None where the validation images are too few.
    """
    if len(validation.truth) < FEWEST:
        return None
    values = _values(ood_reference, validation)
    limits = {
        check.name: float(
            np.quantile(values[check.name], REFUSED[check.name], method="lower")
            if check.least
            else np.quantile(values[check.name], 1 - REFUSED[check.name], method="higher")
        )
        for check in CHECKS
    }
    found = _values(ood_reference, judged)
    pictures = (dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True))
    refused = np.array([bool(findings(picture, limits)) for picture in pictures])
    estimate = proportion(refused, judged.groups)
    return QualityLimits(limits, Rate(estimate.value, estimate.low, estimate.high, estimate.groups), measured_on)


def _values(ood_reference: OodReference, answers: Predictions) -> dict[str, NDArray[np.float64]]:
    """What every check measures, a number for each picture."""
    assert answers.appearance is not None
    values = dict(zip(APPEARANCE, answers.appearance.T.astype(np.float64), strict=True))
    return values | {OOD: ood_distances(ood_reference, answers)}
