"""Models in an interpreter, timed in turns: configurations, warming up, rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from spot_edge.classifier import Classifier
from spot_edge.model.file import read_model

__all__ = ["ROWS", "Configuration", "Runner", "start", "take_turns", "warm_up"]

ROWS = ("decode", "resize", "invoke", "judge", "total")

_WINDOW = 10  # runs: steady is when the medians of two windows in a row differ by less than this share
_STEADY = 0.03
_MOST_WARMUP = 200


@dataclass(frozen=True, slots=True)
class Configuration:
    """A model file (None: the embedded one) and how it is to be run."""

    model: str | None
    threads: int
    delegate: bool


@dataclass(slots=True)
class Runner:
    """One configuration, loaded, and the times it took, in milliseconds."""

    configuration: Configuration
    classifier: Classifier
    load_ms: float
    first_ms: float
    times: dict[str, list[float]] = field(default_factory=lambda: {row: [] for row in ROWS})
    warmup: int = 0
    settled: bool = False


def start(configuration: Configuration, picture: bytes, runtime: str | None) -> Runner:
    """Load a configuration and let it judge its first picture."""
    before = time.perf_counter_ns()
    model = read_model(configuration.model)
    classifier = Classifier(model, runtime=runtime, threads=configuration.threads, delegate=configuration.delegate)
    loaded = time.perf_counter_ns()
    return Runner(configuration, classifier, (loaded - before) / 1e6, run(classifier, picture)["total"])


def run(classifier: Classifier, picture: bytes) -> dict[str, float]:
    """One picture from its bytes to the answer, by parts: `judge` is what follows the network."""
    begun = time.perf_counter_ns()
    prepared = classifier.prepare(picture)
    halfway = time.perf_counter_ns()
    prediction = classifier.predict(prepared)
    done = time.perf_counter_ns()
    parts = prediction.timings_ms
    return parts | {"judge": (done - halfway) / 1e6 - parts["invoke"], "total": (done - begun) / 1e6}


def warm_up(runner: Runner, picture: bytes) -> None:
    """Run until two windows in a row take equally long, at most 200 times."""
    taken: list[float] = []
    while len(taken) < _MOST_WARMUP and not runner.settled:
        taken += [run(runner.classifier, picture)["total"] for _ in range(_WINDOW)]
        if len(taken) >= 2 * _WINDOW:
            before = statistics.median(taken[-2 * _WINDOW : -_WINDOW])
            runner.settled = abs(statistics.median(taken[-_WINDOW:]) / before - 1) < _STEADY
    runner.warmup = len(taken)


def take_turns(runners: Sequence[Runner], picture: bytes, turn: int) -> None:
    """One round: every runner once, each round another one first."""
    first = turn % len(runners)
    for runner in [*runners[first:], *runners[:first]]:
        taken = run(runner.classifier, picture)
        for row in ROWS:
            runner.times[row].append(taken[row])
