"""What the model answers to every picture of the kit, prepared in every way, and how far other kernels differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter as Engine
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray
from PIL import Image

from spot_convert.kit.mistakes import Way
from spot_convert.kit.vectors import RIGHT
from spot_convert.runtimes.micro.kernels import ReferenceKernels
from spot_convert.variants.catalog import TFLITE_MICRO
from spot_edge.model.file import ModelFile
from spot_edge.model.interpreter import Interpreter

__all__ = ["Answer", "Tolerance", "answer_all", "answering", "measure_tolerance"]

RUNTIME = "ai-edge-litert"

# Other kernels round elsewhere, by other amounts on other pictures: three times what one other set does on these. Below
# the floors lie differences that no one could see.
_MARGIN = 3
_SCORE_FLOOR, _RMS_FLOOR = 0.02, 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The network's outputs for one tensor."""

    tensor: NDArray[np.uint8] = field(repr=False)
    outputs: dict[str, NDArray[np.float32]] = field(repr=False)

    def as_dict(self, *, whole: bool) -> dict[str, Any]:
        """The JSON form, with evidence and embedding where it is to be `whole`."""
        record = {
            "input_sha256": hashlib.sha256(self.tensor.tobytes()).hexdigest(),
            "input_mean": _rounded(self.tensor.mean(axis=(0, 1)), 2),
            "scores": _rounded(self.outputs["scores"], 5),
            "logits": _rounded(self.outputs["evidence"].mean(axis=(0, 1), dtype=np.float64), 4),
        }
        if whole:
            record |= {key: _rounded(self.outputs[key], 3) for key in ("evidence", "embedding")}
        return record


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far right answers may be from the kit's: one score, and all of them as a root mean square."""

    score: float
    rms: float
    kernels_score: float  # how far LiteRT's built-in kernels are from the right answers to these pictures
    kernels_rms: float


def answering(model: ModelFile) -> Interpreter:
    """What gives the right answers: tflite-micro's kernels to a file that is meant for them, LiteRT to all others."""
    if model.spec.measured_in.runtime == TFLITE_MICRO:
        return ReferenceKernels(model)
    return Interpreter(model, runtime=RUNTIME, threads=1)


def answer_all(
    model: ModelFile, pictures: Mapping[str, Image.Image], ways: Sequence[Way]
) -> dict[str, dict[str, Answer]]:
    """The answers by picture and way: the right ones in the runtime of the file's own figures, mistakes in LiteRT."""
    interpreter, right = Interpreter(model, runtime=RUNTIME, threads=1), answering(model)
    answers: dict[str, dict[str, Answer]] = {}
    for name, picture in pictures.items():
        tensors = {way.key: way.prepare(picture) for way in ways}
        answers[name] = {
            key: Answer(tensor, _outputs(right if key == RIGHT else interpreter, tensor))
            for key, tensor in tensors.items()
        }
    return answers


def measure_tolerance(model: ModelFile, answers: Mapping[str, Mapping[str, Answer]]) -> Tolerance:
    """Run the right tensors again, without XNNPACK, and allow a margin above what that changes."""
    engine = Engine(
        model_content=model.content,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = engine.get_signature_runner()
    right = [ways[RIGHT] for ways in answers.values()]
    gaps = np.array(
        [runner(image=answer.tensor[np.newaxis])["scores"][0] - answer.outputs["scores"] for answer in right]
    )
    score, rms = float(np.abs(gaps).max()), float(np.sqrt((gaps**2).mean()))
    allowed = (max(_SCORE_FLOOR, _MARGIN * score), max(_RMS_FLOOR, _MARGIN * rms))
    return Tolerance(*(round(value, 4) for value in (*allowed, score, rms)))


def _outputs(interpreter: Interpreter, tensor: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    return {key: np.array(values) for key, values in interpreter.invoke(tensor[np.newaxis]).items()}


def _rounded(values: NDArray[Any], digits: int) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()
