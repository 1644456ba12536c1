"""Measure a model in a new process: the time of the whole command, and memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spot_edge.errors import CheckError

__all__ = ["INFERENCES", "cold_starts", "command", "memory", "spawn"]

INFERENCES = 50  # after them, memory counts as steady

_PROBE = f"""
import json, sys
from spot_edge.classifier import Classifier
def read():
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return {{}}
    pairs = (line.split(":", 1) for line in lines if line.startswith(("VmRSS:", "VmHWM:")))
    return {{key: int(value.split()[0]) for key, value in pairs}}
model, image, runtime = json.loads(sys.argv[1])
classifier = Classifier.load(model, runtime=runtime)
loaded = read().get("VmRSS")
for _ in range({INFERENCES}):
    classifier.classify(image)
steady, peak = map(read().get, ("VmRSS", "VmHWM"))
if peak:
    peak = max(peak, loaded)  # the kernel's figures are some pages off
print(json.dumps({{"loaded_kb": loaded, "steady_kb": steady, "peak_kb": peak}}))
"""


def cold_starts(models: Sequence[str | None], image: bytes, runtime: str | None, runs: int) -> list[dict[str, Any]]:
    """Time the process of `spot-edge classify` on one image, in milliseconds, for each of `models`.

    The models take turns. A first round, which loads the files into the page cache, does not count.
    """
    taken: list[list[float]] = [[] for _ in models]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "image.jpg")
        file.write_bytes(image)
        for number in range(runs + 1):
            for place, model in enumerate(models):
                start = time.perf_counter_ns()
                spawn([*command(), "classify", str(file), *_option("--model", model), *_option("--runtime", runtime)])
                if number:
                    taken[place].append((time.perf_counter_ns() - start) / 1e6)
    return [{"median": statistics.median(times), "min": min(times), "runs": runs} for times in taken]


def memory(model: str | None, image: bytes, runtime: str | None) -> dict[str, int | None]:
    """Measure the resident kilobytes of a new process: model loaded, after 50 inferences, peak; null without /proc."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "image.jpg")
        file.write_bytes(image)
        output = spawn([sys.executable, "-c", _PROBE, json.dumps([model, str(file), runtime])])
    found: dict[str, int | None] = json.loads(output)
    return found


def command() -> list[str]:
    """Return the command that starts `spot-edge` with this Python."""
    script = Path(sys.executable).with_name("spot-edge")
    return [str(script)] if script.exists() else [sys.executable, "-m", "spot_edge.cli"]


def spawn(arguments: list[str], **extra: str) -> bytes:
    """Run a process and return its output; raise CheckError if it fails. `extra` is added to its environment."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | extra
    done = subprocess.run(arguments, env=environment, capture_output=True, check=False)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise CheckError(f"{Path(arguments[0]).name} exited with {done.returncode}: {reason[-1]}")
    return done.stdout


def _option(name: str, value: str | None) -> list[str]:
    return [] if value is None else [name, value]
