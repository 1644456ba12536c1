"""Predict what tflite-micro predicts, with LiteRT's reference kernels, and prove that both agree.

On a workstation, tflite-micro's kernels and LiteRT's reference kernels do the same arithmetic, and LiteRT is twice as
fast. So LiteRT predicts all images, and tflite-micro itself predicts a few, which must agree bit for bit.
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
from spot_edge.errors import CheckError, DataError, InputError, InterpreterError, first_line, install_hint
from spot_edge.image.source import Source
from spot_edge.image.tensor import prepare
from spot_edge.isolated import Crash, call_isolated
from spot_edge.model.file import ModelFile
from spot_edge.model.interpreter import Interpreter, Runtime, default_threads

__all__ = [
    "PROVEN",
    "ReferenceKernels",
    "micro_needs",
    "micro_predictions",
    "micro_version",
    "prove_equal",
    "prove_equal_on",
    "try_isolated",
]

PROVEN = 16  # images that tflite-micro itself predicts, at about half a second each
_SECONDS = 600


class ReferenceKernels(Interpreter):
    """LiteRT without its fast kernels: gives the outputs of tflite-micro."""

    def __init__(self, model: ModelFile) -> None:
        self.runtime, self.threads = Runtime(TFLITE_MICRO, micro_version()), 1
        try:
            self._engine: Any = Engine(
                model_content=model.content, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
            )
            self._engine.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise InterpreterError(
                f"{model.name}: LiteRT's reference kernels cannot run it: {first_line(error)}"
            ) from error
        runner = self._engine.get_signature_runner()
        self._input = runner.get_input_details()["image"]["index"]
        self._outputs = {key: each["index"] for key, each in runner.get_output_details().items()}


def micro_version() -> str:
    """Return the version of tflite-micro. Raise DataError if it is not installed."""
    try:
        return metadata.version(TFLITE_MICRO)
    except metadata.PackageNotFoundError:
        raise DataError(
            f"{TFLITE_MICRO} is not installed. It needs Python 3.11 on 64-bit x86 Linux. Install it "
            f"{install_hint('micro')}"
        ) from None


def try_isolated(model: ModelFile, images: NDArray[np.uint8]) -> MicroTrial:
    """Call `try_in_micro` in a subprocess. Raise CheckError if the file does not run there."""
    try:
        trial = call_isolated(_SECONDS, try_in_micro, model.content, list(images))
    except Crash as crash:
        raise CheckError(f"{model.name}: {TFLITE_MICRO} {micro_version()} {crash}") from None
    if trial.note:
        raise CheckError(f"{model.name}: {TFLITE_MICRO} {micro_version()} cannot run it: {trial.note}")
    return trial


def micro_needs(model: ModelFile, trial: MicroTrial) -> dict[str, Any]:
    """Return what a microcontroller needs for the file, as JSON: flash, arena and operators."""
    sizes = {"flash_bytes": len(flatbuffer_of(model)), **trial.as_dict()}
    return sizes | {"operators": registrations(operator_names(model.content))}


def prove_equal(model: ModelFile, images: NDArray[np.uint8]) -> dict[str, Any]:
    """Check that tflite-micro and the reference kernels agree bit for bit on `images`; return what the file needs.

    Raise CheckError if they disagree.
    """
    trial, kernels, order = try_isolated(model, images), ReferenceKernels(model), tuple(model.signature.outputs)
    for image, theirs in zip(images, trial.outputs, strict=True):
        ours = kernels.invoke(image[np.newaxis])
        if not all(np.array_equal(ours[key], their) for key, their in zip(order, theirs, strict=True)):
            raise CheckError(
                f"{model.name}: {TFLITE_MICRO} {micro_version()} and LiteRT's reference kernels disagree, so its "
                "accuracy cannot be measured"
            )
    return micro_needs(model, trial) | {"images_proven_equal": len(images)}


def prove_equal_on(model: ModelFile, images: Manifest) -> dict[str, Any]:
    """Call `prove_equal` on the first readable images."""
    tensors: list[NDArray[np.uint8]] = []
    for item in images.items:
        with suppress(InputError):
            tensors.append(prepare(Source.of(item.image), model.spec.image).tensor)
        if len(tensors) == PROVEN:
            break
    if not tensors:
        raise DataError(f"{images.origin}: none of its images can be read")
    return prove_equal(model, np.concatenate(tensors))


def micro_predictions(model: ModelFile, images: Manifest, advance: Callable[[int], None]) -> Predictions:
    """Predict every image with the reference kernels, several images at a time."""
    workers = min(default_threads(), len(images.items))
    places = [round(place) for place in np.linspace(0, len(images.items), workers + 1)]
    slices = [dataclasses.replace(images, items=images.items[start:end]) for start, end in pairwise(places)]
    counting, ended = threading.Lock(), threading.Event()

    def count(done: int, total: int) -> None:
        if ended.is_set():
            raise CancelledError
        with counting:
            advance(1)

    def predict_slice(part: Manifest) -> Predictions:
        classifier = Classifier(model, interpreter=ReferenceKernels(model))
        return predict(classifier, part, count, embeddings=True, complete=False)

    with ThreadPoolExecutor(workers) as pool:
        try:
            joined = _joined(list(pool.map(predict_slice, slices)))
        finally:
            ended.set()  # otherwise an interrupted command would wait until every slice is done
    refuse_many_skipped(joined.skipped, images)
    return joined


def _joined(parts: list[Predictions]) -> Predictions:
    names = ("truth", "scores", "logits", "groups", "images", "embeddings", "appearance")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return dataclasses.replace(parts[0], **arrays, skipped=tuple(entry for part in parts for entry in part.skipped))
