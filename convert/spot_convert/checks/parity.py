"""Check that a file computes what the Keras network computes, and that its graph and size are what they should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from spot_bench.data.predictions import Predictions
from spot_convert.modelfile.graph import unpack
from spot_edge.errors import CheckError

__all__ = ["Parity", "check_graph", "check_outputs", "check_size", "operator_names"]

_FORBIDDEN = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE", "CUSTOM"}
_SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a file's scores are from those of Keras on the calibration images."""

    images: int
    largest: float  # difference of any score
    moved: float  # share of the score that moved to other classes, averaged over images
    agreement: float  # share of images with the same top class

    def require(self, name: str, largest: float, moved: float, agreement: float) -> None:
        """Raise CheckError if the scores differ by more than these bounds."""
        if not (self.largest <= largest and self.moved <= moved and self.agreement >= agreement):
            raise CheckError(
                f"{name}: its scores do not match the Keras network's on {self.images} images: they differ by up to "
                f"{self.largest:.2g} (allowed {largest:g}), {self.moved:.2g} of the score moved to other classes "
                f"(allowed {moved:g}), and {100 * self.agreement:.0f} % of the images keep their top class "
                f"(at least {100 * agreement:.0f} %)"
            )

    @classmethod
    def between(cls, scores: NDArray[Any], reference: NDArray[Any]) -> Parity:
        """Compare two sets of scores, one row per image."""
        gap = np.abs(scores.astype(np.float64) - reference)
        same = (scores.argmax(axis=1) == reference.argmax(axis=1)).mean()
        return cls(len(scores), float(gap.max()), float(gap.sum(axis=1).mean() / 2), float(same))


def operator_names(flatbuffer: bytes) -> list[str]:
    """Return the names of the operators of a flatbuffer, in execution order."""
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    model = unpack(flatbuffer)
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [names[codes[operator.opcodeIndex]] for operator in model.subgraphs[0].operators]


def check_graph(flatbuffer: bytes, name: str, *, integer: bool) -> None:
    """Raise CheckError for resource variables, custom operators and, in a full-integer body, float convolutions."""
    bad = _FORBIDDEN & set(operator_names(flatbuffer))
    if bad:
        raise CheckError(f"{name}: contains the operators {', '.join(sorted(bad))}, which no device can run")
    if not integer:
        return
    graph = unpack(flatbuffer).subgraphs[0]
    for operator, kind in zip(graph.operators, operator_names(flatbuffer), strict=True):
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and any(
            graph.tensors[i].type == schema.TensorType.FLOAT32 for i in (*operator.inputs[:2], *operator.outputs)
        ):
            raise CheckError(f"{name}: not a full-integer body: a {kind} computes in float")


def check_size(content: bytes, parameters: int, bytes_each: tuple[float, float], name: str) -> None:
    """Raise CheckError if the size of a file does not match its weights: they are missing or have another type."""
    least_each, most_each = bytes_each
    least, most = parameters * least_each * 0.95, parameters * most_each * 1.30 + 200_000
    if not least <= len(content) <= most:
        raise CheckError(
            f"{name}: has {len(content)} bytes, but {parameters} weights of {least_each:g} to {most_each:g} bytes each "
            f"need {least:.0f} to {most:.0f}"
        )


def check_outputs(found: Predictions, name: str) -> None:
    """Raise CheckError for outputs that contain NaN or infinity, or that are the same for every image."""
    for key, values in (("scores", found.scores), ("evidence", found.logits), ("embedding", found.embeddings)):
        if values is not None and not np.isfinite(values).all():
            raise CheckError(f"{name}: its {key} contain NaN or infinity")
        if values is not None and len(values) > 1 and float(np.ptp(values, axis=0).max()) < _SMALLEST_SPREAD:
            raise CheckError(f"{name}: its {key} are the same for every image")
