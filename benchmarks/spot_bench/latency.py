"""How long a model takes for one picture: several models in turn, after warming up, with percentiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spot_bench.machine import describe_machine
from spot_bench.percentiles import fewest_samples, percentile
from spot_edge.errors import DataError

if TYPE_CHECKING:
    from spot_edge.classifier import Classifier

__all__ = ["PERCENTILES", "ROWS", "SCHEMA", "measure"]

SCHEMA = 1
ROWS = ("decode", "resize", "invoke", "total")
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}

_WINDOW = 10  # runs: steady is when the medians of two windows in a row differ by less than this share
_STEADY = 0.03
_MOST_WARMUP = 200


@dataclass(slots=True)
class _Runner:
    """One loaded model and the times it took, in milliseconds."""

    classifier: Classifier
    load_ms: float
    first_ms: float
    times: dict[str, list[float]]
    warmup: int = 0
    steady: bool = False


def measure(
    models: Sequence[str | None],
    picture: bytes,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    samples: int = 300,
    seconds: float = 0.0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Time `models` (paths; None: the embedded one) on one encoded picture: a JSON-able report.

    The models take turns, each round in another order, so that a change of the machine's clock hits all alike. After
    warming up until steady, rounds go on for at least `samples` and at least `seconds`; `progress(rounds)` is called
    after each. A percentile that so few samples do not support is null.
    """
    from spot_edge.interpreter import default_threads

    if not models or samples < 1:
        raise DataError("latency: needs at least one model and one sample")
    _load(models[0], runtime, threads)  # imports the interpreter, which is no model's cost
    runners = [_start(path, picture, runtime, threads) for path in models]
    for runner in runners:
        _warm_up(runner, picture)
    start, rounds = time.perf_counter_ns(), 0
    while rounds < samples or time.perf_counter_ns() - start < 1e9 * seconds:
        turn = rounds % len(runners)
        for runner in runners[turn:] + runners[:turn]:
            for row, value in _run(runner.classifier, picture).items():
                runner.times[row].append(value)
        rounds += 1
        if progress is not None:
            progress(rounds)
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "threads": threads or default_threads(),
        "samples": rounds,
        "picture_bytes": len(picture),
        "needed": {name: fewest_samples(share) for name, share in PERCENTILES.items()},
        "models": [_record(runner) for runner in runners],
    }


def _load(path: str | None, runtime: str | None, threads: int | None) -> Classifier:
    from spot_edge.classifier import Classifier

    return Classifier.load(path, runtime=runtime, threads=threads)


def _start(path: str | None, picture: bytes, runtime: str | None, threads: int | None) -> _Runner:
    start = time.perf_counter_ns()
    classifier = _load(path, runtime, threads)
    loaded = time.perf_counter_ns()
    first = _run(classifier, picture)["total"]
    return _Runner(classifier, (loaded - start) / 1e6, first, {row: [] for row in ROWS})


def _run(classifier: Classifier, picture: bytes) -> dict[str, float]:
    start = time.perf_counter_ns()
    prediction = classifier.classify(picture)
    total = (time.perf_counter_ns() - start) / 1e6
    return prediction.timings_ms | {"total": total}


def _warm_up(runner: _Runner, picture: bytes) -> None:
    taken: list[float] = []
    while len(taken) < _MOST_WARMUP and not runner.steady:
        taken += [_run(runner.classifier, picture)["total"] for _ in range(_WINDOW)]
        if len(taken) >= 2 * _WINDOW:
            before = statistics.median(taken[-2 * _WINDOW : -_WINDOW])
            runner.steady = abs(statistics.median(taken[-_WINDOW:]) / before - 1) < _STEADY
    runner.warmup = len(taken)


def _record(runner: _Runner) -> dict[str, Any]:
    model, classifier = runner.classifier.model, runner.classifier
    return {
        "model": {"file": model.name, "name": model.spec.name, "variant": model.spec.variant, "id": model.id},
        "bytes": len(model.content),
        "runtime": {"name": classifier.runtime.name, "version": classifier.runtime.version},
        "load_ms": runner.load_ms,
        "first_ms": runner.first_ms,
        "warmup": {"runs": runner.warmup, "steady": runner.steady},
        "rows_ms": {row: _percentiles(runner.times[row]) for row in ROWS},
    }


def _percentiles(times: list[float]) -> dict[str, Any]:
    samples = np.array(times)
    found = {name: percentile(samples, share).as_dict() for name, share in PERCENTILES.items()}
    return {"min": float(samples.min()), **found}
