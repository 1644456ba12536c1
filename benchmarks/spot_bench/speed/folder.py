"""Measure how much faster `spot-edge classify FOLDER` is on all processors than on one thread.

The two alternate. Each time is that of the whole process, which is what a user waits for.
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
from spot_bench.speed.processes import command
from spot_bench.stats.intervals import ratio_of_medians
from spot_edge.errors import CheckError, InputError
from spot_edge.image.inputs import find_images
from spot_edge.machine import Sensors, text_in
from spot_edge.model.interpreter import default_threads

__all__ = ["SCHEMA", "TARGET", "measure_folder"]

SCHEMA = 1
TARGET = 1.7  # times as fast on two processors
EARLY = 200  # images, after which memory must not grow


class _Run(NamedTuple):
    """The time of one process."""

    seconds: float
    processor_seconds: float


def measure_folder(
    folder: Path, model: Path | None = None, *, repeats: int = 10, done: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Compare the two on the images in `folder` and return a JSON-able report; `done` is called after each repeat."""
    images = find_images([str(folder)])
    if images[0].problem:
        raise images[0].problem
    base = [*command(), "classify", str(folder), "--json", *(["--model", str(model)] if model else [])]
    single, default = [*base, "--threads", "1"], base
    _run(default)  # loads the files into the page cache
    watch, pairs = Watch(Sensors()), []
    watch.start()
    for number in range(repeats):
        first, second = _run(default if number % 2 else single), _run(single if number % 2 else default)
        pairs.append((second, first) if number % 2 else (first, second))
        watch.sample()
        done()
    conditions = watch.finish()
    seconds = np.array([[run.seconds for run in pair] for pair in pairs])
    ratio = ratio_of_medians(seconds[:, 0], seconds[:, 1])
    return {
        "schema": SCHEMA,
        "machine": describe_machine(),
        "conditions": conditions,
        "images": len(images),
        "repeats": repeats,
        "threads": default_threads(),
        "single_thread": _record([pair[0] for pair in pairs], len(images)),
        "default": _record([pair[1] for pair in pairs], len(images)),
        "speedup": ratio.as_dict(),
        "target": TARGET,
        "met": ratio.value >= TARGET,
        "memory": {"early_images": EARLY, "single_thread": _memory(single), "default": _memory(default)},
    }


def _record(runs: Sequence[_Run], images: int) -> dict[str, float]:
    return {
        "seconds": float(np.median([run.seconds for run in runs])),
        "processor_ms_per_image": float(1e3 * np.median([run.processor_seconds for run in runs]) / images),
    }


def _run(arguments: list[str]) -> _Run:
    """Run one process and time it."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, InputError.exit_code):
        raise CheckError(f"spot-edge classify exited with {process.returncode}. Run it by itself to see why")
    return _Run(seconds, used.ru_utime + used.ru_stime)


def _memory(arguments: list[str]) -> dict[str, int | None]:
    """Return the peak kilobytes of one process, after the first predictions and in all; null without /proc.

    Read while the predictions come, because the figure of an ended process includes the one that started it. The
    kernel's figures are some pages off and may decrease, so the maximum counts.
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
