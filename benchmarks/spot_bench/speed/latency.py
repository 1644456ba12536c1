"""Time models on one image: configurations take turns after a warm-up. Percentiles come with what explains them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_bench.speed.conditions import BUSY, Watch, describe_machine
from spot_bench.speed.energy import Meter, find_meter
from spot_bench.speed.processes import cold_starts, memory
from spot_bench.speed.rounds import ROWS, Configuration, Runner, run, run_round, start, warm_up
from spot_bench.speed.utilisation import Peak, count_work, measure_peak, utilisation
from spot_bench.stats.intervals import bootstrap
from spot_bench.stats.percentiles import percentile, samples_needed
from spot_edge.errors import DataError, InterpreterError
from spot_edge.machine import Sensors
from spot_edge.model.interpreter import default_threads, find_runtime, resolver_without_delegate

__all__ = ["BLOCKS", "PERCENTILES", "SCHEMA", "Plan", "measure"]

SCHEMA = 2
PERCENTILES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
BLOCKS = 64  # consecutive blocks of rounds, whose medians are kept

_ENERGY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and for how long: at least `samples` rounds and at least `seconds`."""

    samples: int = 1024
    seconds: float = 20.0
    threads: tuple[int, ...] = ()  # empty: one per processor, at most four
    delegates: tuple[bool, ...] = (True,)
    runtime: str | None = None
    cold: int = 10  # processes per model; 0 skips cold starts and memory
    sensors: Sensors = field(default_factory=Sensors)


def measure(
    models: Sequence[str | None],
    image: bytes,
    plan: Plan | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Time `models` (paths; None: the embedded one) on one encoded image and return a JSON-able report.

    Each model with each number of threads, with and without the delegate, is an entry of the report's `models`. They
    take turns, in another order each round, so that a change of the machine's clock affects all alike.
    `progress(rounds)` is called after each round. A percentile that needs more samples is null.
    """
    plan = plan or Plan()
    if not models or plan.samples < 1:
        raise DataError("latency needs at least one model and one sample")
    plan, notes = _possible(plan)
    watch, meter = Watch(plan.sensors), find_meter(plan.sensors.root / "sys")
    idle = meter and meter.measure(lambda: time.sleep(0.05), _ENERGY_SECONDS)
    runners = _start(models, image, plan)
    watch.start()
    rounds = _rounds(runners, image, plan, watch, progress)
    conditions = watch.finish()
    disturbed = bool(conditions["throttled"]) or (conditions["other_work"] or 0) > BUSY
    records = [_record(runner, disturbed) for runner in runners]
    for runner, record in zip(runners, records, strict=True):
        record["against_float32"] = _against_float(runner, runners)
        record["energy"] = _energy(runner, image, meter)
    _add_utilisation(runners, records)
    return {
        "report": "latency",
        "schema": SCHEMA,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "conditions": conditions,
        "samples": rounds,
        "image": {"bytes": len(image), "sha256": hashlib.sha256(image).hexdigest()},
        "samples_needed": {name: samples_needed(share) for name, share in PERCENTILES.items()},
        "meter": {"name": meter.name, "idle_watts": idle.as_dict()["watts"]} if meter and idle else None,
        "models": records,
        "processes": _processes(models, runners, image, plan),
        "notes": notes,
    }


def _possible(plan: Plan) -> tuple[Plan, list[str]]:
    """Drop from the plan what this runtime cannot do; return the plan and a note about it."""
    runtime = find_runtime(plan.runtime)
    if False not in plan.delegates or resolver_without_delegate(runtime) is not None:
        return plan, []
    note = f"{runtime} cannot turn its delegate off"
    if True not in plan.delegates:
        raise InterpreterError(f"{note}. Measure with --delegate on")
    return replace(plan, delegates=(True,)), [f"{note}: measured only with the delegate"]


def _start(models: Sequence[str | None], image: bytes, plan: Plan) -> list[Runner]:
    counts = plan.threads or (default_threads(),)
    wanted = [Configuration(model, count, on) for model in models for count in counts for on in plan.delegates]
    start(wanted[0], image, plan.runtime)  # imports the interpreter, so that no model pays for it
    runners = [start(configuration, image, plan.runtime) for configuration in wanted]
    for runner in runners:
        warm_up(runner, image)
    return runners


def _rounds(
    runners: list[Runner], image: bytes, plan: Plan, watch: Watch, progress: Callable[[int], None] | None
) -> int:
    begun, rounds = time.perf_counter(), 0
    while rounds < plan.samples or time.perf_counter() - begun < plan.seconds:
        run_round(runners, image, rounds)
        rounds += 1
        watch.sample()
        if progress is not None:
            progress(rounds)
    return rounds


def _record(runner: Runner, disturbed: bool) -> dict[str, Any]:
    model, runtime = runner.classifier.model, runner.classifier.runtime
    return {
        "model": {"file": model.name, "name": model.spec.name, "variant": model.spec.variant, "id": model.id},
        "bytes": len(model.content),
        "threads": runner.configuration.threads,
        "delegate": runner.configuration.delegate,
        "runtime": {"name": runtime.name, "version": runtime.version},
        "load_ms": runner.load_ms,
        "first_ms": runner.first_ms,
        "warmup": {"runs": runner.warmup, "settled": runner.settled},
        "steady": runner.settled and not disturbed,
        "rows_ms": {row: _percentiles(np.array(runner.times[row])) for row in ROWS},
        "blocks_ms": {row: _block_medians(runner.times[row]) for row in ROWS},
    }


def _percentiles(samples: NDArray[np.float64]) -> dict[str, Any]:
    found = {name: percentile(samples, share).as_dict() for name, share in PERCENTILES.items()}
    return {"min": float(samples.min()), **found}


def _block_medians(times: list[float]) -> list[float]:
    """Return the medians of 64 consecutive blocks of samples. Resampling blocks keeps slow drifts together."""
    parts = np.array_split(np.array(times), min(BLOCKS, len(times)))
    return [round(float(np.median(part)), 4) for part in parts]


def _against_float(runner: Runner, runners: Sequence[Runner]) -> dict[str, Any] | None:
    """Compare the network's time with that of its float32 baseline in the same configuration and rounds."""
    baseline = next((other for other in runners if _is_baseline_of(other, runner)), None)
    if baseline is None or runner.classifier.model.spec.variant == "float32":
        return None
    blocks = [np.array(_block_medians(one.times["invoke"])) for one in (runner, baseline)]
    ratio = bootstrap(lambda own, base: float(np.median(own) / np.median(base)), range(len(blocks[0])), *blocks)
    return {"file": baseline.classifier.model.name, "row": "invoke", "ratio": ratio.as_dict()}


def _is_baseline_of(other: Runner, runner: Runner) -> bool:
    theirs, ours = other.classifier.model.spec, runner.classifier.model.spec
    same = (theirs.variant, theirs.name, theirs.image) == ("float32", ours.name, ours.image)
    return same and replace(other.configuration, model=runner.configuration.model) == runner.configuration


def _energy(runner: Runner, image: bytes, meter: Meter | None) -> dict[str, Any] | None:
    """Measure energy separately, because a meter cannot tell configurations that take turns apart."""
    if meter is None:
        return None
    spent = meter.measure(lambda: run(runner.classifier, image), _ENERGY_SECONDS)
    return None if spent is None else spent.as_dict()


def _add_utilisation(runners: list[Runner], records: list[dict[str, Any]]) -> None:
    peaks: dict[tuple[str, int, str], Peak | None] = {}
    for runner, record in zip(runners, records, strict=True):
        work = count_work(runner.classifier.model.content)
        key = (work.dtype, runner.configuration.threads, runner.classifier.runtime.name)
        if key not in peaks:
            peaks[key] = measure_peak(*key)
        record["utilisation"] = utilisation(work, float(np.median(runner.times["invoke"])), peaks[key])


def _processes(
    models: Sequence[str | None], runners: Sequence[Runner], image: bytes, plan: Plan
) -> list[dict[str, Any]]:
    """Measure cold start and memory of each model file, with the default threads and delegate."""
    if not plan.cold:
        return []
    names = {runner.configuration.model: runner.classifier.model for runner in runners}
    starts = cold_starts(models, image, plan.runtime, plan.cold)
    return [
        {"file": names[model].name, "id": names[model].id, "cold_ms": cold, **memory(model, image, plan.runtime)}
        for model, cold in zip(models, starts, strict=True)
    ]
