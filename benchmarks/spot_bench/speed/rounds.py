"""Run models in turns and time them: configurations, warm-up, rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from spot_edge.classifier import Classifier
from spot_edge.model.file import read_model

__all__ = ["ROWS", "Configuration", "Runner", "run_round", "start", "warm_up"]

ROWS = ("decode", "resize", "invoke", "postprocess", "total")

_WINDOW = 10  # runs; steady: the medians of two consecutive windows differ by less than _STEADY
_STEADY = 0.03
_MOST_WARMUP = 200


@dataclass(frozen=True, slots=True)
class Configuration:
    """A model file (None: the embedded one) and how to run it."""

    model: str | None
    threads: int
    delegate: bool


@dataclass(slots=True)
class Runner:
    """A loaded configuration and its times in milliseconds."""

    configuration: Configuration
    classifier: Classifier
    load_ms: float
    first_ms: float
    times: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})
    warmup: int = 0
    settled: bool = False


def start(configuration: Configuration, image: bytes, runtime: str | None) -> Runner:
    """Load a configuration and classify a first image."""
    before = time.perf_counter_ns()
    model = read_model(configuration.model)
    classifier = Classifier(model, runtime=runtime, threads=configuration.threads, delegate=configuration.delegate)
    loaded = time.perf_counter_ns()
    return Runner(configuration, classifier, (loaded - before) / 1e6, run(classifier, image)["total"])


def run(classifier: Classifier, image: bytes) -> dict[str, float]:
    """Time one image from its bytes to the prediction, by step; `postprocess` is what follows the network."""
    begun = time.perf_counter_ns()
    prepared = classifier.prepare(image)
    halfway = time.perf_counter_ns()
    prediction = classifier.predict(prepared)
    done = time.perf_counter_ns()
    parts = prediction.timings_ms
    return parts | {"postprocess": (done - halfway) / 1e6 - parts["invoke"], "total": (done - begun) / 1e6}


def warm_up(runner: Runner, image: bytes) -> None:
    """Run until two consecutive windows take equally long, at most 200 times."""
    taken: list[float] = []
    while len(taken) < _MOST_WARMUP and not runner.settled:
        taken += [run(runner.classifier, image)["total"] for _ in range(_WINDOW)]
        if len(taken) >= 2 * _WINDOW:
            before = statistics.median(taken[-2 * _WINDOW : -_WINDOW])
            runner.settled = abs(statistics.median(taken[-_WINDOW:]) / before - 1) < _STEADY
    runner.warmup = len(taken)


def run_round(runners: Sequence[Runner], image: bytes, number: int) -> None:
    """Run every runner once; each round starts with another one."""
    first = number % len(runners)
    for runner in [*runners[first:], *runners[:first]]:
        taken = run(runner.classifier, image)
        for row in ROWS:
            runner.times[row].append(taken[row])
