"""The operators of a file, as tflite-micro's `MicroMutableOpResolver` wants them registered."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["registrations"]

_ODD = {
    "PADV2": "PadV2",
    "CUMSUM": "CumSum",
    "BATCH_MATMUL": "BatchMatMul",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


def registrations(kinds: Iterable[str]) -> list[str]:
    """`AddConv2D` for `CONV_2D`: each kind once, in the order of the alphabet."""
    return sorted({f"Add{_ODD.get(kind) or _camel(kind)}" for kind in kinds})


def _camel(kind: str) -> str:
    words = (word if word[:1].isdigit() else word.capitalize() for word in kind.split("_"))
    return "".join(words)
