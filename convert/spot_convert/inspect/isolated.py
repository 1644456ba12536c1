"""Runs a function in a process of its own: a .tflite that takes its interpreter down must not take us with it."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["Died", "apart"]

P = ParamSpec("P")
R = TypeVar("R")


class Died(Exception):
    """The process did not live to answer; its text says how it ended."""


def apart(seconds: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `function`, of the top of a module, returns; Died where it ends its process or takes over `seconds`.

    Arguments and result must pickle. What an interpreter prints on the way is swallowed.
    """
    job = pickle.dumps((function.__module__, function.__qualname__, args, kwargs))
    command = [sys.executable, "-P", "-m", "spot_convert.inspect.isolated"]
    try:
        done = subprocess.run(command, input=job, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise Died(f"did not end within {seconds:.0f} seconds") from None
    if done.returncode < 0:
        raise Died(f"ended its process ({signal.Signals(-done.returncode).name})")
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
        raise Died(f"failed: {said[-1]}")
    answer: R = pickle.loads(done.stdout)
    return answer


def _answer() -> None:
    warnings.simplefilter("ignore")  # an interpreter that keeps its tensors says that this is for debugging
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # only the answer goes out: what an interpreter prints goes with the complaints
        module, name, args, kwargs = pickle.load(sys.stdin.buffer)
        out.write(pickle.dumps(getattr(importlib.import_module(module), name)(*args, **kwargs)))


if __name__ == "__main__":
    _answer()
