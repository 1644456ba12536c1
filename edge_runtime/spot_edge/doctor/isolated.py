"""Running what may crash in a process of its own, so that its end can be told in words."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Ended", "run_apart"]

# The child finds its modules where this process does: neither the current folder nor PYTHONPATH may change that.
_CHILD = """
import importlib, json, sys
sys.path[:], module, name, arguments = json.loads(sys.argv[1])
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # a crash leaves no file
except (ImportError, OSError, ValueError):
    pass
for record in getattr(importlib.import_module(module), name)(*arguments):
    print("", json.dumps(record), sep="\\n", flush=True)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """What the child yielded before it ended, and how that was; no words where it ended well."""

    records: list[dict[str, Any]] = field(default_factory=list)
    how: str = ""
    signal: int = 0
    late: bool = False


def run_apart(module: str, name: str, *arguments: Any, timeout: float) -> Ended:
    """Go through the generator `module.name(*arguments)` in a new process; what it yields are objects of JSON."""
    told = json.dumps([sys.path, module, name, arguments])
    command = [sys.executable, "-P", "-c", _CHILD, told]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as late:
        return Ended(_records(late.stdout or b""), f"no end within {timeout:g} s", late=True)
    except OSError as error:
        return Ended(how=f"cannot be started: {error.strerror or error}")
    return Ended(_records(done.stdout), _how(done.returncode, done.stderr), max(0, -done.returncode))


def _records(output: bytes) -> list[dict[str, Any]]:
    """The objects of JSON among whatever else native code prints."""
    found = []
    for line in output.decode(errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _how(code: int, said: bytes) -> str:
    if code == 0:
        return ""
    if code < 0:
        try:
            meaning = (signal.strsignal(-code) or "not known").partition(":")[0].lower()
        except ValueError:
            meaning = "not known"
        return f"ended by signal {-code} ({meaning})"
    lines = said.decode(errors="replace").strip().splitlines()
    return f"ended with code {code}" + (f" ({lines[-1].strip()})" if lines else "")
