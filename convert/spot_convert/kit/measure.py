"""Run the model on every image of the kit, prepared in every way, and measure how much other kernels differ."""

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

__all__ = ["Outputs", "Tolerance", "measure_tolerance", "reference_interpreter", "run_all"]

RUNTIME = "ai-edge-litert"

# Other kernels round differently, and by other amounts on other images. So allow three times the difference that one
# other set of kernels makes on these images. Nobody would notice differences below the floors.
_MARGIN = 3
_SCORE_FLOOR, _RMS_FLOOR = 0.02, 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """The model's outputs for one tensor."""

    tensor: NDArray[np.uint8] = field(repr=False)
    values: dict[str, NDArray[np.float32]] = field(repr=False)

    def as_dict(self, *, complete: bool) -> dict[str, Any]:
        """Return the JSON form, with evidence and embedding if `complete`."""
        record = {
            "input_sha256": hashlib.sha256(self.tensor.tobytes()).hexdigest(),
            "input_mean": _rounded(self.tensor.mean(axis=(0, 1)), 2),
            "scores": _rounded(self.values["scores"], 5),
            "logits": _rounded(self.values["evidence"].mean(axis=(0, 1), dtype=np.float64), 4),
        }
        if complete:
            record |= {key: _rounded(self.values[key], 3) for key in ("evidence", "embedding")}
        return record


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far correct scores may be from the kit's: a single score, and the root mean square of all."""

    score: float
    rms: float
    kernels_score: float  # largest difference of LiteRT's built-in kernels on these images
    kernels_rms: float


def reference_interpreter(model: ModelFile) -> Interpreter:
    """Return the interpreter that defines correct outputs: that of tflite-micro if the file is for it, else LiteRT."""
    if model.spec.measured_in.runtime == TFLITE_MICRO:
        return ReferenceKernels(model)
    return Interpreter(model, runtime=RUNTIME, threads=1)


def run_all(model: ModelFile, images: Mapping[str, Image.Image], ways: Sequence[Way]) -> dict[str, dict[str, Outputs]]:
    """Return the outputs by image and way: correct ones in the runtime the file is made for, mistakes in LiteRT."""
    interpreter, reference = Interpreter(model, runtime=RUNTIME, threads=1), reference_interpreter(model)
    outputs: dict[str, dict[str, Outputs]] = {}
    for name, image in images.items():
        tensors = {way.key: way.prepare(image) for way in ways}
        outputs[name] = {
            key: Outputs(tensor, _invoke(reference if key == RIGHT else interpreter, tensor))
            for key, tensor in tensors.items()
        }
    return outputs


def measure_tolerance(model: ModelFile, outputs: Mapping[str, Mapping[str, Outputs]]) -> Tolerance:
    """Run the correct tensors again without XNNPACK, and allow three times the difference that this makes."""
    engine = Engine(
        model_content=model.content,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    runner = engine.get_signature_runner()
    right = [ways[RIGHT] for ways in outputs.values()]
    gaps = np.array([runner(image=each.tensor[np.newaxis])["scores"][0] - each.values["scores"] for each in right])
    score, rms = float(np.abs(gaps).max()), float(np.sqrt((gaps**2).mean()))
    allowed = (max(_SCORE_FLOOR, _MARGIN * score), max(_RMS_FLOOR, _MARGIN * rms))
    return Tolerance(*(round(value, 4) for value in (*allowed, score, rms)))


def _invoke(interpreter: Interpreter, tensor: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    return {key: np.array(values) for key, values in interpreter.invoke(tensor[np.newaxis]).items()}


def _rounded(values: NDArray[Any], digits: int) -> Any:
    return np.round(values.astype(np.float64), digits).tolist()
