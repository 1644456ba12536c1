"""The bodies of the variants whose network is fine-tuned for the file: which of them is made how."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spot_bench.run.progress import Bar
from spot_convert.quantize.compression import clustered, pruned
from spot_convert.quantize.qat import qat_body
from spot_convert.run import Run
from spot_convert.variants.catalog import CLUSTERED, PRUNED, QAT

__all__ = ["trained_body"]

_NETWORKS = {PRUNED: pruned, CLUSTERED: clustered}


def trained_body(
    kind: str,
    run: Run,
    calibration: NDArray[np.uint8],
    lessons: NDArray[np.uint8],
    qat: Path | None,
    bar: Bar,
    int8_body: Callable[[Run, NDArray[np.uint8]], bytes],
) -> bytes:
    """The full int8 body of a variant that trains, learned from the float network's answers to the `lessons`.

    A network that is changed before it is rounded is rounded by `int8_body`.
    """
    with bar(f"training {kind}", run.retraining.steps) as more:
        if qat is not None and kind == QAT:
            return qat_body(run, calibration, lessons, qat, more)
        network = _NETWORKS[kind](run, lessons, more)
    return int8_body(dataclasses.replace(run, body=network), calibration)
