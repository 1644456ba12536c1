"""Measure what our own code costs on top of Pillow and the interpreter, as ratios of times.

(a) `Classifier.classify` on a 600x450 JPEG without image quality checks, against Pillow's decoding and resizing and the
    interpreter's `invoke`.
(b) The same on a 12-megapixel image, where one unnecessary copy is a tenth of the time.
(c) `classify` as in (a) with image quality checks, against itself without them.
(d) `spot-edge classify` as a process, against a process that imports the same packages and loads the same model.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.data.drawn.canvas import large_still
from spot_bench.speed.conditions import describe_machine
from spot_bench.speed.processes import command, spawn
from spot_bench.stats.intervals import Estimate, ratio_of_medians
from spot_edge.classifier import Classifier
from spot_edge.errors import InterpreterError
from spot_edge.model.interpreter import RUNTIMES, default_threads

__all__ = [
    "CALL_TARGET",
    "CHECKS_TARGET",
    "PROCESS_TARGET",
    "SCHEMA",
    "STILL_TARGET",
    "Ratio",
    "call_overhead",
    "checks_overhead",
    "measure_overhead",
    "process_overhead",
    "still_overhead",
]

SCHEMA = 1
CALL_TARGET = 1.03
STILL_TARGET = 1.10
CHECKS_TARGET = 1.05
PROCESS_TARGET = 1.20


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our time over that of the bare parts: of the medians (with a 95 % interval), and of the fastest runs."""

    median: Estimate
    fastest: float
    ours_ms: float  # median
    bare_ms: float
    target: float

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; `met` says whether the ratio of the medians is within the target."""
        return {
            "median": self.median.as_dict(),
            "fastest": self.fastest,
            "ours_ms": self.ours_ms,
            "bare_ms": self.bare_ms,
            "target": self.target,
            "met": self.median.value <= self.target,
        }


def measure_overhead(
    model: Path | None = None, *, calls: int = 300, stills: int = 60, processes: int = 60
) -> dict[str, Any]:
    """Measure the ratios for the model file at `model` (default: the embedded one); return a JSON-able report."""
    classifier = Classifier.load(model)
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "model": {"name": classifier.model.spec.name, "id": classifier.model.id},
        "runtime": {"name": classifier.runtime.name, "version": classifier.runtime.version},
        "call": call_overhead(classifier, calls).as_dict(),
        "still": still_overhead(classifier, stills).as_dict(),
        "checks": checks_overhead(classifier, calls).as_dict() if classifier.model.spec.image_quality else None,
        "process": process_overhead(classifier, model, processes).as_dict(),
    }


def call_overhead(classifier: Classifier, times: int = 300) -> Ratio:
    """Measure (a): `classify` and its bare parts alternate on the same file in the same process."""
    return _against_parts(_unchecked(classifier), encode_jpeg(draw_lesion(seed=1)), times, 20, CALL_TARGET)


def still_overhead(classifier: Classifier, times: int = 60) -> Ratio:
    """Measure (b): as (a), on a 12-megapixel image."""
    return _against_parts(_unchecked(classifier), large_still(draw_lesion(seed=1)), times, 3, STILL_TARGET)


def checks_overhead(classifier: Classifier, times: int = 300) -> Ratio:
    """Measure (c): `classify` with and without image quality checks alternate on the same file."""
    unchecked = _unchecked(classifier)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lesion.jpg")
        file.write_bytes(encode_jpeg(draw_lesion(seed=1)))
        ours, bare = (partial(each.classify, file) for each in (classifier, unchecked))
        return _alternate(ours, bare, times, 20, CHECKS_TARGET)


def _unchecked(classifier: Classifier) -> Classifier:
    """Return the same model without image quality checks."""
    spec = classifier.model.spec._replace(image_quality=None)
    return Classifier(replace(classifier.model, spec=spec), runtime=classifier.runtime.name)


def _against_parts(classifier: Classifier, jpeg: bytes, times: int, warmup: int, target: float) -> Ratio:
    size, engine = classifier.model.spec.image.size, _engine(classifier)
    entry = engine.get_input_details()[0]["index"]
    exits = [output["index"] for output in engine.get_output_details()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lesion.jpg")
        file.write_bytes(jpeg)

        def bare() -> None:
            with Image.open(file) as image:  # RGB, upright, 4:3: converting would only copy it
                small = image.resize((size, size), Image.Resampling.BILINEAR)
            engine.set_tensor(entry, np.asarray(small)[np.newaxis])
            engine.invoke()
            for index in exits:
                engine.get_tensor(index)

        return _alternate(lambda: classifier.classify(file), bare, times, warmup, target)


def process_overhead(classifier: Classifier, model: Path | None = None, times: int = 60) -> Ratio:
    """Measure (d): the command and a minimal process alternate."""
    module = _module(classifier.runtime.name)
    with tempfile.TemporaryDirectory() as folder:
        file, flatbuffer = Path(folder, "lesion.jpg"), Path(folder, "model.tflite")
        file.write_bytes(encode_jpeg(draw_lesion(seed=1)))
        flatbuffer.write_bytes(classifier.model.content)
        load = (
            f"import sys, numpy; from PIL import Image; from {module} import Interpreter; "
            f"Interpreter(model_path=sys.argv[1], num_threads={default_threads()}).allocate_tensors()"
        )
        bare = [sys.executable, "-c", load, str(flatbuffer)]
        ours = [*command(), "classify", str(file), *(["--model", str(model)] if model else [])]
        return _alternate(lambda: spawn(ours), lambda: spawn(bare), times, 1, PROCESS_TARGET)


def _alternate(ours: Callable[[], Any], bare: Callable[[], Any], times: int, warmup: int, target: float) -> Ratio:
    for _ in range(warmup):
        ours()
        bare()
    pairs = np.array([_pair(ours, bare, number) for number in range(times)])
    mine, base = pairs[:, 0], pairs[:, 1]
    ratio = ratio_of_medians(mine, base)
    fastest = float(mine.min() / base.min())
    return Ratio(ratio, fastest, float(np.median(mine)), float(np.median(base)), target)


def _pair(ours: Callable[[], Any], bare: Callable[[], Any], number: int) -> tuple[float, float]:
    """Time one run of each in milliseconds; they alternate in going first."""
    if number % 2:
        base = _time(bare)
        return _time(ours), base
    return _time(ours), _time(bare)


def _time(action: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1e6


def _module(runtime: str) -> str:
    """Return the module whose `Interpreter` the bare parts use."""
    if runtime == "tensorflow":
        raise InterpreterError("overhead cannot be measured with TensorFlow. Install ai-edge-litert")
    return RUNTIMES[runtime][0]


def _engine(classifier: Classifier) -> Any:
    interpreter = importlib.import_module(_module(classifier.runtime.name)).Interpreter
    engine = interpreter(model_content=classifier.model.content, num_threads=default_threads())
    engine.allocate_tensors()
    return engine
