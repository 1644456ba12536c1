"""The timing-prone tests pass while four processes keep the CPU busy: no test may depend on how busy the machine is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

BURNERS = 4
TIMING_PRONE = (  # the most risky first
    "edge_runtime/test_signals.py",
    "edge_runtime/kiosk/test_terminal.py",
    "edge_runtime/kiosk/test_pipes.py",
    "edge_runtime/test_cli_resume.py",
    "edge_runtime/test_cli_out.py",
    "edge_runtime/test_cli_folder.py",
    "edge_runtime/test_cli_ends.py",
    "edge_runtime/camera/test_cli.py",
    "edge_runtime/doctor/test_doctor.py",
    "edge_runtime/test_isolated.py",
    "edge_runtime/test_failures.py",
    "edge_runtime/test_hostile_names.py",
    "edge_runtime/test_shared_folder.py",
    "benchmarks/test_resume.py",
    "train/test_interrupted_training.py",
    "train/test_source_training.py",
    "train/data/test_fetch.py",
    "train/data/test_download.py",
    "benchmarks/test_peers.py",
    "benchmarks/test_soak.py",
    "benchmarks/test_folder_speed.py",
    "benchmarks/test_latency.py",
    "benchmarks/test_stills.py",
    "convert/inspecting/test_bad_files.py",
    "edge_runtime/doctor/test_selftest.py",
    "edge_runtime/test_workers.py",
    "edge_runtime/test_changing_folders.py",
    "edge_runtime/kiosk/test_unit.py",
    "edge_runtime/test_odd_ends.py",
    "edge_runtime/test_odd_environments.py",
    "benchmarks/test_progress.py",
)
WAITS = re.compile(r"time\.sleep|send_signal|os\.kill|Popen|settimeout|timeout=\d")


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


def test_every_test_file_that_waits_is_in_the_list(repository: Path) -> None:
    tests = repository / "tests"
    waiting = {
        path.relative_to(tests).as_posix() for path in tests.rglob("test_*.py") if WAITS.search(path.read_text("utf-8"))
    }
    assert {path for path in waiting if not path.startswith("system/")} <= set(TIMING_PRONE)
    assert all((tests / path).is_file() for path in TIMING_PRONE)


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
        f"tests/{path}",
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert all(process.poll() is None for process in burners)  # they were busy to the end
