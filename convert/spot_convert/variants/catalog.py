"""The catalog of variants: every kind of model file, where it runs, which engines make it, and its bounds.

To add a variant, add an entry to VARIANTS. If its body is new, also add a function to BODIES in
`engines/litert_quantizer.py` or `engines/tflite_converter.py`. Nothing else needs to know about it.
"""

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
_FINE_TUNED = (QAT, PRUNED, CLUSTERED)
_MIXED = ("int8-mixed", "int4-mixed")
ENGINES = {"tensorflow": "TensorFlow's own converter", "litert": "LiteRT Quantizer"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One kind of model file.

    The bounds compare it with Keras on the calibration images. They only detect broken files; how accurate a file is,
    the drift gate decides.
    """

    summary: str
    body: str  # what the engine builds
    runtime: str  # which the file is fitted and evaluated in
    engines: tuple[str, ...]  # the default first
    bytes_per_weight: tuple[float, float]  # at least, at most
    max_difference: float  # between any score and the one of Keras
    max_shift: float  # share of the score that moves to other classes, averaged over images
    min_agreement: float  # share of images with the same top class

    @property
    def integer(self) -> bool:
        """Whether the whole body computes in integers."""
        return self.static and self.body != "int8-mixed"

    @property
    def static(self) -> bool:
        """Whether the ranges of the activations are fixed in advance, on calibration images."""
        return self.body not in ("float32", "float16", "dynamic")

    @property
    def mixed(self) -> bool:
        """Whether the layers have different precisions, chosen on validation."""
        return self.body in _MIXED

    @property
    def fine_tuned(self) -> bool:
        """Whether the network is fine-tuned for this file, on images of the training split."""
        return self.body in _FINE_TUNED


_LITERT_FIRST = ("litert", "tensorflow")  # LiteRT Quantizer loses less accuracy; see docs/reports/quantization.md


def _eight_bits(summary: str, body: str, runtime: str, engines: tuple[str, ...]) -> Variant:
    return Variant(
        summary, body, runtime, engines, bytes_per_weight=(1, 1), max_difference=1.0, max_shift=0.2, min_agreement=0.75
    )


def _four_bits(summary: str, body: str) -> Variant:
    # Wide bounds: users want to see what four bits cost, so only a file that is broken altogether is rejected.
    return Variant(
        summary,
        body,
        LITERT,
        ("litert",),
        bytes_per_weight=(0.5, 1),
        max_difference=1.0,
        max_shift=0.5,
        min_agreement=0.3,
    )


VARIANTS = {
    "float32": Variant(
        "as trained",
        "float32",
        LITERT,
        ("tensorflow",),
        bytes_per_weight=(4, 4),
        max_difference=1e-4,
        max_shift=1e-4,
        min_agreement=0.99,
    ),
    "float16": Variant(
        "float16 weights: half the size",
        "float16",
        LITERT,
        _LITERT_FIRST,
        bytes_per_weight=(2, 2),
        max_difference=0.05,
        max_shift=0.01,
        min_agreement=0.97,
    ),
    "dynamic": _eight_bits("int8 weights, float activations", "dynamic", LITERT, _LITERT_FIRST),
    "int8": _eight_bits("full int8 body, uint8 input, float tail", "int8", LITERT, _LITERT_FIRST),
    "int8-mixed": Variant(
        "int8, with the most sensitive layers in float32",
        "int8-mixed",
        LITERT,
        ("litert",),
        bytes_per_weight=(1, 4),
        max_difference=1.0,
        max_shift=0.2,
        min_agreement=0.75,
    ),
    "int16x8": _eight_bits("int8 weights, int16 activations: accurate, slow", "int16x8", LITERT, ("litert",)),
    "int4-mixed": _four_bits("int4, with the most sensitive layers in int8", "int4-mixed"),
    "int4": _four_bits("int8 with int4 weights, except in depthwise layers", "int4"),
    QAT: _eight_bits("int8 after quantization-aware training (needs --qat)", QAT, LITERT, ("tensorflow",)),
    PRUNED: _eight_bits("int8 with half of the weights zero: small download", PRUNED, LITERT, _LITERT_FIRST),
    CLUSTERED: _eight_bits("int8 with few distinct weights: small download", CLUSTERED, LITERT, _LITERT_FIRST),
    "int8-tflite-runtime": _eight_bits(
        "int8, fitted and evaluated in tflite-runtime 2.14", "int8", TFLITE_RUNTIME, _LITERT_FIRST
    ),
    "dynamic-tflite-runtime": _eight_bits(
        "dynamic, fitted and evaluated in tflite-runtime 2.14", "dynamic", TFLITE_RUNTIME, ("tensorflow",)
    ),
    "microcontroller": _eight_bits(
        "int8, evaluated with tflite-micro's kernels, with its memory needs", "int8", TFLITE_MICRO, _LITERT_FIRST
    ),
    "browser": _eight_bits("int8 for web pages, evaluated in LiteRT.js in Chromium", "int8", LITERT_JS, _LITERT_FIRST),
}
DEFAULT = ("float32", "float16", "dynamic", "int8")


def choose_variants(names: list[str], engine: str | None = None) -> dict[str, str]:
    """Return the engine for each variant in `names`. Raise DataError, listing what exists, for unknown names."""
    if engine is not None and engine not in ENGINES:
        raise DataError(f"unknown engine {engine!r}: choose {' or '.join(ENGINES)}")
    if not names:
        raise DataError(f"no variant given: choose from {', '.join(VARIANTS)}")
    chosen = {}
    for name in names:
        if name not in VARIANTS:
            near = difflib.get_close_matches(name, VARIANTS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"unknown variant {name!r}{hint}: choose from {', '.join(VARIANTS)}")
        engines = VARIANTS[name].engines
        if engine is not None and engine not in engines:
            raise DataError(
                f"engine {engine!r} cannot make {name}, only {', '.join(engines)} can: leave out --engine or {name}"
            )
        chosen[name] = engine or engines[0]
    return chosen
