"""A file's answers as tflite-micro gives them, on many pictures: by LiteRT's reference kernels, proven equal.

tflite-micro's kernels on a workstation are those that LiteRT calls its reference: the same arithmetic, and twice as
fast there. So that every picture can be judged, LiteRT runs them; and some pictures really go through tflite-micro,
which must answer the same in every bit.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from itertools import pairwise
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter as Engine
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray

from spot_bench.data.inference import refuse_many_skipped
from spot_bench.data.manifest import Manifest
from spot_bench.data.predictions import Predictions, predict
from spot_convert.checks.parity import operator_names
from spot_convert.runtimes.micro.source import flatbuffer_of, registrations
from spot_convert.runtimes.micro.trial import MicroTrial, try_in_micro
from spot_convert.variants.catalog import TFLITE_MICRO
from spot_edge.classifier import Classifier
from spot_edge.errors import CheckError, DataError, InputError, InterpreterError
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.isolated import Crash, call_isolated
from spot_edge.model.file import ModelFile
from spot_edge.model.interpreter import Interpreter, Runtime, default_threads

__all__ = [
    "PROVEN",
    "ReferenceKernels",
    "micro_answers",
    "micro_needs",
    "micro_version",
    "prove_equal",
    "prove_equal_on",
    "try_isolated",
]

PROVEN = 16  # pictures that tflite-micro itself answers, some half a second each
_SECONDS = 600


class ReferenceKernels(Interpreter):
    """LiteRT without its fast kernels: what tflite-micro answers."""

    def __init__(self, model: ModelFile) -> None:
        self.runtime, self.threads = Runtime(TFLITE_MICRO, micro_version()), 1
        try:
            self._engine: Any = Engine(
                model_content=model.content, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
            )
            self._engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InterpreterError(f"{model.name}: LiteRT's reference kernels refuse it: {reason}") from error
        runner = self._engine.get_signature_runner()
        self._input = runner.get_input_details()["image"]["index"]
        self._outputs = {key: each["index"] for key, each in runner.get_output_details().items()}


def micro_version() -> str:
    """The version of tflite-micro; DataError where it is not installed."""
    try:
        return metadata.version(TFLITE_MICRO)
    except metadata.PackageNotFoundError:
        raise DataError(
            f"{TFLITE_MICRO} is not installed here, and files for it are judged with it: "
            "pip install 'spot-edge-toolkit[micro]' (Python 3.11 on 64-bit x86 Linux)"
        ) from None


def try_isolated(model: ModelFile, pictures: NDArray[np.uint8]) -> MicroTrial:
    """`try_in_micro` in a subprocess; CheckError where the file does not run there."""
    try:
        trial = call_isolated(_SECONDS, try_in_micro, model.content, list(pictures))
    except Crash as crash:
        raise CheckError(f"{model.name}: {TFLITE_MICRO} {micro_version()} {crash}") from None
    if trial.note:
        raise CheckError(f"{model.name}: {TFLITE_MICRO} {micro_version()} does not run it: {trial.note}")
    return trial


def micro_needs(model: ModelFile, trial: MicroTrial) -> dict[str, Any]:
    """What a microcontroller must have for the file, as JSON: flash, arena and operators."""
    sizes = {"flash_bytes": len(flatbuffer_of(model)), **trial.as_dict()}
    return sizes | {"operators": registrations(operator_names(model.content))}


def prove_equal(model: ModelFile, pictures: NDArray[np.uint8]) -> dict[str, Any]:
    """What tflite-micro needs for the file, having answered `pictures` bit for bit as the reference kernels do."""
    trial, kernels, order = try_isolated(model, pictures), ReferenceKernels(model), tuple(model.signature.outputs)
    for picture, theirs in zip(pictures, trial.answers, strict=True):
        ours = kernels.invoke(picture[np.newaxis])
        if not all(np.array_equal(ours[key], their) for key, their in zip(order, theirs, strict=True)):
            raise CheckError(
                f"{model.name}: {TFLITE_MICRO} {micro_version()} and LiteRT's reference kernels answer differently: "
                "its figures cannot be measured"
            )
    return micro_needs(model, trial) | {"pictures_proven_equal": len(pictures)}


def prove_equal_on(model: ModelFile, images: Manifest) -> dict[str, Any]:
    """`prove_equal` on the first pictures of `images` that can be read."""
    tensors: list[NDArray[np.uint8]] = []
    for item in images.items:
        with suppress(InputError):
            tensors.append(prepare(Source.of(item.image), model.spec.image).tensor)
        if len(tensors) == PROVEN:
            break
    if not tensors:
        raise DataError(f"{images.origin}: none of its images can be read")
    return prove_equal(model, np.concatenate(tensors))


def micro_answers(model: ModelFile, images: Manifest, more: Callable[[int], None]) -> Predictions:
    """What `model` says about every image in the reference kernels, several images at once."""
    workers = min(default_threads(), len(images.items))
    places = [round(place) for place in np.linspace(0, len(images.items), workers + 1)]
    slices = [dataclasses.replace(images, items=images.items[start:end]) for start, end in pairwise(places)]
    counting, ended = threading.Lock(), threading.Event()

    def count(done: int, total: int) -> None:
        if ended.is_set():
            raise CancelledError
        with counting:
            more(1)

    def answer(part: Manifest) -> Predictions:
        classifier = Classifier(model, interpreter=ReferenceKernels(model))
        return predict(classifier, part, count, embeddings=True, whole=False)

    with ThreadPoolExecutor(workers) as pool:
        try:
            joined = _joined(list(pool.map(answer, slices)))
        finally:
            ended.set()  # or an interrupted command would wait for all that was begun
    refuse_many_skipped(joined.skipped, images)
    return joined


def _joined(parts: list[Predictions]) -> Predictions:
    names = ("truth", "scores", "logits", "groups", "images", "embeddings", "appearance")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return dataclasses.replace(parts[0], **arrays, skipped=tuple(entry for part in parts for entry in part.skipped))
