"""Google's own `benchmark_litert_model`, from ai-edge-litert: a process that loops by itself, on random pixels.

One call is one process of 50 runs, and its time the median that the tool reports. It gives no scores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import ai_edge_litert

from experiments.peers.talk import Task, answer, read_task

_TOOL = "ai_edge_litert.tools.benchmark_litert_model"


def measure(task: Task) -> int:
    """Nanoseconds that the tool reports."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        wanted = [f"--model={task.network}", f"--num_threads={task.threads}", f"--result_json={result}"]
        subprocess.run([sys.executable, "-m", _TOOL, *wanted], check=True, stdout=sys.stderr)
        milliseconds: float = json.loads(result.read_text())["latency"]["median_ms"]
        return round(1e6 * milliseconds)


if __name__ == "__main__":
    task = read_task()
    measure(task)
    hello = {"version": f"ai-edge-litert {ai_edge_litert.__version__}", "scores": None, "first": None}
    answer(hello, {"bare": lambda count: [measure(task) for _ in range(count)]})
