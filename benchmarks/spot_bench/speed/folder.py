"""How much faster `spot-edge classify` goes through a folder on all processors than with one picture after the other.

Whole processes, in turns, from their start to their end: what a user waits for.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spot_bench.speed.conditions import Watch, describe_machine
from spot_bench.speed.overhead import ratio_of_medians
from spot_bench.speed.processes import command
from spot_bench.stats.intervals import bootstrap
from spot_edge.errors import CheckError, InputError
from spot_edge.image.inputs import find_images
from spot_edge.machine import Sensors, text_in
from spot_edge.model.interpreter import default_threads

__all__ = ["SCHEMA", "TARGET", "measure_folder"]

SCHEMA = 1
TARGET = 1.7  # times as fast, on two processors
EARLY = 200  # pictures, after which memory must not grow


class _Run(NamedTuple):
    """What one process took."""

    seconds: float
    processor_seconds: float


def measure_folder(
    folder: Path, model: Path | None = None, *, turns: int = 10, done: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The comparison over the pictures in `folder` as a JSON-able report; `done` is called after each turn."""
    pictures = find_images([str(folder)])
    if pictures[0].problem:
        raise pictures[0].problem
    base = [*command(), "classify", str(folder), "--json", *(["--model", str(model)] if model else [])]
    alone, together = [*base, "--threads", "1"], base
    _run(together)  # brings the files into the system's memory
    watch, pairs = Watch(Sensors()), []
    watch.start()
    for turn in range(turns):
        first, second = _run(together if turn % 2 else alone), _run(alone if turn % 2 else together)
        pairs.append((second, first) if turn % 2 else (first, second))
        watch.look()
        done()
    conditions = watch.finish()
    seconds = np.array([[run.seconds for run in pair] for pair in pairs])
    ratio = bootstrap(ratio_of_medians, np.arange(turns), seconds[:, 0], seconds[:, 1])
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "conditions": conditions,
        "pictures": len(pictures),
        "turns": turns,
        "threads": default_threads(),
        "alone": _record([pair[0] for pair in pairs], len(pictures)),
        "together": _record([pair[1] for pair in pairs], len(pictures)),
        "times_as_fast": ratio.as_dict(),
        "target": TARGET,
        "met": ratio.value >= TARGET,
        "memory": {"early_pictures": EARLY, "alone": _memory(alone), "together": _memory(together)},
    }


def _record(runs: Sequence[_Run], pictures: int) -> dict[str, float]:
    return {
        "seconds": float(np.median([run.seconds for run in runs])),
        "processor_ms_a_picture": float(1e3 * np.median([run.processor_seconds for run in runs]) / pictures),
    }


def _run(arguments: list[str]) -> _Run:
    """One process from its start to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, InputError.exit_code):
        raise CheckError(f"spot-edge classify ended with exit code {process.returncode}: run it by itself")
    return _Run(seconds, used.ru_utime + used.ru_stime)


def _memory(arguments: list[str]) -> dict[str, int | None]:
    """The most kilobytes that one process had when the first answers were there, and in all; null without /proc.

    Read as its answers come: what the system tells of a process that has ended counts the one that started it, too.
    The kernel's figure is some pages off, so that the next may be less: the most that was ever told counts.
    """
    early: int | None = None
    peak: int | None = None
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for number, _ in enumerate(process.stdout or (), 1):
            peak = max(filter(None, (peak, _peak(process.pid))), default=None)
            if number == EARLY:
                early = peak
    return {"early_kb": early, "peak_kb": peak}


def _peak(process: int) -> int | None:
    lines = (text_in(Path(f"/proc/{process}/status")) or "").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
