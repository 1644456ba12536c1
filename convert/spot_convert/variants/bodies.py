"""Build the body of a variant: convert, fine-tune or search, whichever the catalog asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spot_bench.run.progress import Bar
from spot_convert.engines import litert_quantizer, tflite_converter
from spot_convert.quantize.compression import clustered, pruned
from spot_convert.quantize.mixing import SearchStep
from spot_convert.quantize.qat import qat_body
from spot_convert.run import Run
from spot_convert.variants.catalog import CLUSTERED, PRUNED, QAT, Variant

__all__ = ["Body", "build_body"]

_ENGINES = {"tensorflow": tflite_converter.BODIES, "litert": litert_quantizer.BODIES}
_COMPRESSIONS = {PRUNED: pruned, CLUSTERED: clustered}


@dataclass(frozen=True, slots=True)
class Body:
    """A quantized network (image → evidence, embedding), and the steps of the search if there was one."""

    flatbuffer: bytes
    search: list[SearchStep] = dataclasses.field(default_factory=list)


def build_body(
    variant: Variant,
    engine: str,
    run: Run,
    calibration: NDArray[np.uint8],
    training: NDArray[np.uint8] | None,
    qat_python: Path | None,
    log: Callable[[str], None],
    bar: Bar,
) -> Body:
    """Build the body of `variant` with `engine`.

    Fine-tuned variants learn from the float network's outputs on `training`; qat-int8 does so in the environment of
    `qat_python`. Raise CheckError if an engine fails.
    """
    if variant.fine_tuned:
        assert training is not None
        return Body(_fine_tuned(variant.body, engine, run, calibration, training, qat_python, bar))
    if variant.mixed:
        return Body(*litert_quantizer.mixed_body(variant.body, run, calibration, log))
    return Body(_ENGINES[engine][variant.body](run, calibration))


def _fine_tuned(
    kind: str,
    engine: str,
    run: Run,
    calibration: NDArray[np.uint8],
    training: NDArray[np.uint8],
    qat_python: Path | None,
    bar: Bar,
) -> bytes:
    """Fine-tune the network for its file. A pruned or clustered network is then quantized to int8 by `engine`."""
    with bar(f"training {kind}", run.retraining.steps) as advance:
        if kind == QAT:
            assert qat_python is not None
            return qat_body(run, calibration, training, qat_python, advance)
        network = _COMPRESSIONS[kind](run, training, advance)
    return _ENGINES[engine]["int8"](dataclasses.replace(run, body=network), calibration)
