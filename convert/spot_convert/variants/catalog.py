"""Every kind of file that can be made: what it is, where it runs, which engines make it, and what it must keep to."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from spot_edge.errors import DataError

__all__ = [
    "CLUSTERED",
    "DEFAULT",
    "ENGINES",
    "LITERT",
    "LITERT_JS",
    "PRUNED",
    "QAT",
    "TFLITE_MICRO",
    "TFLITE_RUNTIME",
    "VARIANTS",
    "Variant",
    "choose_variants",
]

LITERT, TFLITE_RUNTIME, TFLITE_MICRO, LITERT_JS = "ai-edge-litert", "tflite-runtime", "tflite-micro", "LiteRT.js"
QAT, PRUNED, CLUSTERED = "qat-int8", "pruned-int8", "clustered-int8"
TRAINED = (QAT, PRUNED, CLUSTERED)
MIXED = ("int8-mixed", "int4-mixed")
ENGINES = {"tensorflow": "TensorFlow's own converter", "litert": "LiteRT Quantizer"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One kind of file. The checks against Keras, on the calibration pictures, only find a file that is broken; how
    good it is the drift gate says."""

    about: str
    body: str  # what the engine makes
    runtime: str
    engines: tuple[str, ...]  # the default first
    bytes_each: tuple[float, float]  # a weight: at least, at most
    largest: float  # |score - Keras' score|, at most
    moved: float  # share of the score that may move to other classes, on average
    agreement: float  # share of pictures that must keep their first rank

    @property
    def integer(self) -> bool:
        """Whether the body computes in whole numbers throughout."""
        return self.static and self.body != "int8-mixed"

    @property
    def static(self) -> bool:
        """Whether the ranges of the activations are fixed beforehand, on calibration pictures."""
        return self.body not in ("float32", "float16", "dynamic")

    @property
    def mixes(self) -> bool:
        """Whether layers of the body are in different numbers, chosen on validation."""
        return self.body in MIXED

    @property
    def trains(self) -> bool:
        """Whether the network is fine-tuned for this file, with images of the training part."""
        return self.body in TRAINED


_LITERT_FIRST = ("litert", "tensorflow")  # docs/convert.md has the measurements


def _eight_bits(about: str, body: str, runtime: str, engines: tuple[str, ...]) -> Variant:
    return Variant(about, body, runtime, engines, bytes_each=(1, 1), largest=1.0, moved=0.2, agreement=0.75)


def _four_bits(about: str, body: str) -> Variant:
    # Hardly more than that it is not broken altogether: what four bits cost is what somebody wants to see.
    return Variant(about, body, LITERT, ("litert",), bytes_each=(0.5, 1), largest=1.0, moved=0.5, agreement=0.3)


VARIANTS = {
    "float32": Variant(
        "as trained", "float32", LITERT, ("tensorflow",), bytes_each=(4, 4), largest=1e-4, moved=1e-4, agreement=0.99
    ),
    "float16": Variant(
        "weights of half the size",
        "float16",
        LITERT,
        _LITERT_FIRST,
        bytes_each=(2, 2),
        largest=0.05,
        moved=0.01,
        agreement=0.97,
    ),
    "dynamic": _eight_bits("int8 weights, float activations", "dynamic", LITERT, _LITERT_FIRST),
    "int8": _eight_bits("full int8 body, uint8 input, float tail", "int8", LITERT, _LITERT_FIRST),
    "int8-mixed": Variant(
        "int8 with the layers in float32 that it hurts most, found by measurement",
        "int8-mixed",
        LITERT,
        ("litert",),
        bytes_each=(1, 4),
        largest=1.0,
        moved=0.2,
        agreement=0.75,
    ),
    "int16x8": _eight_bits("int8 weights, int16 activations: accurate and slow", "int16x8", LITERT, ("litert",)),
    "int4-mixed": _four_bits("int4 with the layers in int8 that it hurts most, found by measurement", "int4-mixed"),
    "int4": _four_bits("int8 with weights of four bits in all but the depthwise layers", "int4"),
    QAT: _eight_bits("int8, trained with its rounding (needs --qat)", QAT, LITERT, ("tensorflow",)),
    PRUNED: _eight_bits("int8 with half of the weights nought, for a smaller download", PRUNED, LITERT, _LITERT_FIRST),
    CLUSTERED: _eight_bits("int8 with few different weights, for a smaller download", CLUSTERED, LITERT, _LITERT_FIRST),
    "int8-tflite-runtime": _eight_bits(
        "the same for tflite-runtime 2.14, fitted and judged there", "int8", TFLITE_RUNTIME, _LITERT_FIRST
    ),
    "dynamic-tflite-runtime": _eight_bits(
        "dynamic for tflite-runtime 2.14, fitted and judged there", "dynamic", TFLITE_RUNTIME, ("tensorflow",)
    ),
    "microcontroller": _eight_bits(
        "int8 for tflite-micro, judged by its kernels, with the arena it needs", "int8", TFLITE_MICRO, _LITERT_FIRST
    ),
    "browser": _eight_bits("int8 for web pages, judged by LiteRT.js in a Chromium", "int8", LITERT_JS, _LITERT_FIRST),
}
DEFAULT = ("float32", "float16", "dynamic", "int8")


def choose_variants(names: list[str], engine: str | None = None) -> dict[str, str]:
    """The engine that makes each of the variants `names`; DataError, listing what exists, for any other pair."""
    if engine is not None and engine not in ENGINES:
        raise DataError(f"unknown engine {engine!r}: known are {', '.join(ENGINES)}")
    if not names:
        raise DataError(f"no variant named: known are {', '.join(VARIANTS)}")
    chosen = {}
    for name in names:
        if name not in VARIANTS:
            near = difflib.get_close_matches(name, VARIANTS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"unknown variant {name!r}{hint}: known are {', '.join(VARIANTS)}")
        engines = VARIANTS[name].engines
        if engine is not None and engine not in engines:
            raise DataError(f"{name} is not made by {engine!r}, only by {', '.join(engines)}: leave --engine out")
        chosen[name] = engine or engines[0]
    return chosen
