"""Run a function in a subprocess, so that a crash in native code ends that process and not this one."""

from __future__ import annotations

import io
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

__all__ = ["Crash", "Outcome", "call_isolated", "run_isolated"]

P = ParamSpec("P")
R = TypeVar("R")

# The child gets our sys.path: neither the current folder nor PYTHONPATH may change which modules it finds. Records go
# to a copy of standard output. What native code prints to standard output goes to standard error instead.
_CHILD = """
import importlib, os, pickle, sys
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
sys.path[:], module, name = pickle.load(sys.stdin.buffer)
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # no core dump
except (ImportError, OSError, ValueError):
    pass
args, kwargs = pickle.load(sys.stdin.buffer)
result = getattr(importlib.import_module(module), name)(*args, **kwargs)
for record in result if hasattr(result, "__next__") else (result,):
    out.write(pickle.dumps(record))
    out.flush()
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the subprocess returned or yielded, and why it ended early (an empty reason if it did not)."""

    records: list[Any] = field(default_factory=list)
    reason: str = ""
    signal: int = 0
    timed_out: bool = False


class Crash(Exception):
    """The subprocess crashed, failed or timed out; the text is `Outcome.reason`."""


def run_isolated(function: Callable[..., Any], *args: Any, timeout: float, **kwargs: Any) -> Outcome:
    """Run `function` in a subprocess for at most `timeout` seconds.

    `function` must be at the top level of an importable module, and what goes in and out must pickle. Each item of a
    generator is one record, and those yielded before a crash are kept. Any other result is a single record.
    """
    job = pickle.dumps((sys.path, function.__module__, function.__qualname__)) + pickle.dumps((args, kwargs))
    command = [sys.executable, "-P", "-W", "ignore", "-c", _CHILD]
    try:
        done = subprocess.run(command, input=job, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as expired:
        return Outcome(_records(expired.stdout or b""), f"did not finish within {timeout:g} s", timed_out=True)
    except OSError as error:
        return Outcome(reason=f"could not start: {error.strerror or error}")
    return Outcome(_records(done.stdout), _reason(done.returncode, done.stderr), max(0, -done.returncode))


def call_isolated(timeout: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what `function` returns in a subprocess. Raises Crash if it does not come to its end in time."""
    outcome = run_isolated(function, *args, timeout=timeout, **kwargs)
    if outcome.reason or not outcome.records:
        raise Crash(outcome.reason or "exited without a result")
    result: R = outcome.records[-1]
    return result


def _records(output: bytes) -> list[Any]:
    stream, found = io.BytesIO(output), list[Any]()
    while stream.tell() < len(output):
        try:
            found.append(pickle.load(stream))
        except (EOFError, pickle.UnpicklingError):  # the process ended in the middle of a record
            break
    return found


def _reason(code: int, stderr: bytes) -> str:
    if code == 0:
        return ""
    if code < 0:
        try:
            meaning = (signal.strsignal(-code) or "unknown").partition(":")[0].lower()
        except ValueError:
            meaning = "unknown"
        return f"crashed with signal {-code} ({meaning})"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"exited with code {code}" + (f" ({lines[-1].strip()})" if lines else "")
