"""The timing-prone tests pass while four processes keep the CPU busy: no test may depend on how busy the machine is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

BURNERS = 4
TIMING_PRONE = (
    "tests/edge_runtime/kiosk",
    "tests/edge_runtime/test_signals.py",
    "tests/train/test_interrupted_training.py",
    "tests/benchmarks/test_progress.py",
)


@pytest.fixture
def burners() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that use all the CPU time they get."""
    with ExitStack() as stack:
        started = []
        for _ in range(BURNERS):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(process.kill)
            started.append(process)
        yield started


@pytest.mark.nightly
@pytest.mark.parametrize("path", TIMING_PRONE)
def test_timing_prone_tests_pass_on_a_busy_machine(
    path: str, burners: list[subprocess.Popen[bytes]], repository: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(tmp_path / "tests"),
        path,
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert all(process.poll() is None for process in burners)  # they were busy to the end
