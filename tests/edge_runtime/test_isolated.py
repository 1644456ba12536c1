"""Functions in a subprocess: what comes back, and what is reported when the subprocess crashes or hangs."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spot_edge.isolated import Crash, Outcome, call_isolated, run_isolated

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """child(code, timeout): the outcome of a generator with this code."""

    def run(code: str, timeout: float = 60) -> Outcome:
        body = "".join(f"    {line}\n" for line in code.splitlines())
        (tmp_path / "task_of_a_test.py").write_text(f"import os, sys, time\ndef work(*given):\n{body}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "task_of_a_test", raising=False)
        work = importlib.import_module("task_of_a_test").work
        return run_isolated(work, "é\n", [1], None, timeout=timeout)

    return run


def test_records_come_back_whatever_is_printed(child) -> None:
    outcome = child(
        "print('INFO: [1]'); print('no end', end='')\nyield {'given': given}\nos.write(1, b'\\x80')\nyield {'a': 1}"
    )
    assert outcome == Outcome([{"given": ("é\n", [1], None)}, {"a": 1}])


@posix
@pytest.mark.parametrize(
    ("number", "meaning"), [(4, "illegal instruction"), (11, "segmentation fault"), (6, "aborted"), (9, "killed")]
)
def test_a_signal_is_named(number: int, meaning: str, child) -> None:
    outcome = child(f"yield {{'step': 'one'}}\nos.kill(os.getpid(), {number})")
    assert outcome == Outcome([{"step": "one"}], f"crashed with signal {number} ({meaning})", number)


def test_an_exception_is_reported_by_its_last_line(child) -> None:
    assert child("yield {}\nraise KeyError('x')") == Outcome([{}], "exited with code 1 (KeyError: 'x')")


def test_a_record_cut_short_is_dropped(child) -> None:
    """The process writes half a record and exits."""
    cut = "import __main__, pickle\nyield 1\n__main__.out.write(pickle.dumps('a' * 99)[:50])\n"
    cut += "__main__.out.flush()\nos._exit(3)"
    assert child(cut) == Outcome([1], "exited with code 3")


@pytest.mark.long
def test_a_timeout_keeps_the_records_so_far(child) -> None:
    for seconds in (5, 20, 120):  # on a busy machine the process may take long to start
        outcome = child("yield {'a': 1}\ntime.sleep(9999)", timeout=seconds)
        if outcome.records:
            break
    assert outcome == Outcome([{"a": 1}], f"did not finish within {seconds} s", timed_out=True)


@posix
def test_a_crash_leaves_no_core_dump(child) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        outcome = child("import resource\nyield resource.getrlimit(resource.RLIMIT_CORE)[0]")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    assert outcome == Outcome([0])


def test_a_python_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/missing/python")
    assert run_isolated(divmod, 1, 1, timeout=1).reason.startswith("could not start: ")


def test_a_call_returns_the_result() -> None:
    assert call_isolated(60, divmod, 7, 2) == (3, 1)


@posix
def test_a_call_that_crashes_reports_how() -> None:
    with pytest.raises(Crash, match=r"crashed with signal 6 \(aborted\)"):
        call_isolated(60, os.abort)
    with pytest.raises(Crash, match=r"exited with code 1 \(ZeroDivisionError"):
        call_isolated(60, divmod, 1, 0)
    with pytest.raises(Crash, match="did not finish within 1 s"):
        call_isolated(1, time.sleep, 9999)
    with pytest.raises(Crash, match="exited without a result"):
        call_isolated(60, os._exit, 0)
