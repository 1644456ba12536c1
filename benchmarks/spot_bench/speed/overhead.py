"""What our own code costs on top of the parts it is made of: ratios, each measured in one run.

(a) `Classifier.classify` on a JPEG of 600x450, against Pillow's decoding, Pillow's resizing and the bare `invoke`;
without the checks of capture quality, which the parts have not.
(b) The same on a still of 12 megapixels, where one copy more than needed is a tenth of the time.
(c) (a)'s `classify` with the checks of capture quality, against itself without them.
(d) `spot-edge classify` as a whole process, against one that imports the same packages and loads the same model.
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
from numpy.typing import NDArray
from PIL import Image

from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.data.drawn.canvas import large_still
from spot_bench.speed.conditions import describe_machine
from spot_bench.speed.processes import command, spawn
from spot_bench.stats.intervals import Estimate, bootstrap
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
    "ratio_of_medians",
    "still_overhead",
]

SCHEMA = 1
CALL_TARGET = 1.05
STILL_TARGET = 1.10
CHECKS_TARGET = 1.10
PROCESS_TARGET = 1.40


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our time over the bare one's: of the medians (with its 95 % interval), and of the fastest runs."""

    median: Estimate
    fastest: float
    ours_ms: float  # median
    bare_ms: float
    target: float

    def as_dict(self) -> dict[str, Any]:
        """The JSON form; `met` says whether the ratio of the medians reaches the target."""
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
    """The ratios for the model file at `model` (default: the embedded one) as a JSON-able report."""
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
    """(a): `classify` against its parts on the same file in the same process, in turns."""
    return _against_parts(_unchecked(classifier), encode_jpeg(draw_lesion(seed=1)), times, 20, CALL_TARGET)


def still_overhead(classifier: Classifier, times: int = 60) -> Ratio:
    """(b): as (a), on a still of 12 megapixels."""
    return _against_parts(_unchecked(classifier), large_still(draw_lesion(seed=1)), times, 3, STILL_TARGET)


def checks_overhead(classifier: Classifier, times: int = 300) -> Ratio:
    """(c): `classify` of the same file with and without the checks of capture quality, in turns."""
    unchecked = _unchecked(classifier)
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "lesion.jpg")
        picture.write_bytes(encode_jpeg(draw_lesion(seed=1)))
        ours, bare = (partial(each.classify, picture) for each in (classifier, unchecked))
        return _in_turns(ours, bare, times, 20, CHECKS_TARGET)


def _unchecked(classifier: Classifier) -> Classifier:
    """The same model without limits of capture quality."""
    spec = classifier.model.spec._replace(image_quality=None)
    return Classifier(replace(classifier.model, spec=spec), runtime=classifier.runtime.name)


def _against_parts(classifier: Classifier, jpeg: bytes, times: int, warmup: int, target: float) -> Ratio:
    size, engine = classifier.model.spec.image.size, _engine(classifier)
    entry = engine.get_input_details()[0]["index"]
    exits = [output["index"] for output in engine.get_output_details()]
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "lesion.jpg")
        picture.write_bytes(jpeg)

        def bare() -> None:
            with Image.open(picture) as image:  # RGB, upright and four to three: converting would only copy it
                small = image.resize((size, size), Image.Resampling.BILINEAR)
            engine.set_tensor(entry, np.asarray(small)[np.newaxis])
            engine.invoke()
            for index in exits:
                engine.get_tensor(index)

        return _in_turns(lambda: classifier.classify(picture), bare, times, warmup, target)


def process_overhead(classifier: Classifier, model: Path | None = None, times: int = 60) -> Ratio:
    """(d): the command against a process that does only what any such process must, in turns."""
    module = _module(classifier.runtime.name)
    with tempfile.TemporaryDirectory() as folder:
        picture, flatbuffer = Path(folder, "lesion.jpg"), Path(folder, "model.tflite")
        picture.write_bytes(encode_jpeg(draw_lesion(seed=1)))
        flatbuffer.write_bytes(classifier.model.content)
        load = (
            f"import sys, numpy; from PIL import Image; from {module} import Interpreter; "
            f"Interpreter(model_path=sys.argv[1], num_threads={default_threads()}).allocate_tensors()"
        )
        bare = [sys.executable, "-c", load, str(flatbuffer)]
        ours = [*command(), "classify", str(picture), *(["--model", str(model)] if model else [])]
        return _in_turns(lambda: spawn(ours), lambda: spawn(bare), times, 1, PROCESS_TARGET)


def _in_turns(ours: Callable[[], Any], bare: Callable[[], Any], times: int, warmup: int, target: float) -> Ratio:
    for _ in range(warmup):
        ours()
        bare()
    pairs = np.array([_pair(ours, bare, turn) for turn in range(times)])
    mine, base = pairs[:, 0], pairs[:, 1]
    ratio = bootstrap(ratio_of_medians, np.arange(times), mine, base)
    fastest = float(mine.min() / base.min())
    return Ratio(ratio, fastest, float(np.median(mine)), float(np.median(base)), target)


def _pair(ours: Callable[[], Any], bare: Callable[[], Any], turn: int) -> tuple[float, float]:
    """Milliseconds of one run of each; they take turns at going first."""
    if turn % 2:
        base = _time(bare)
        return _time(ours), base
    return _time(ours), _time(bare)


def _time(action: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - start) / 1e6


def ratio_of_medians(mine: NDArray[np.float64], base: NDArray[np.float64]) -> float:
    """What is given an interval: the median of one over that of the other."""
    return float(np.median(mine) / np.median(base))


def _module(runtime: str) -> str:
    """The module whose `Interpreter` the bare parts use."""
    if runtime == "tensorflow":
        raise InterpreterError("overhead is not measured in TensorFlow: pip install ai-edge-litert")
    return RUNTIMES[runtime][0]


def _engine(classifier: Classifier) -> Any:
    interpreter = importlib.import_module(_module(classifier.runtime.name)).Interpreter
    engine = interpreter(model_content=classifier.model.content, num_threads=default_threads())
    engine.allocate_tensors()
    return engine
