"""Run an adapter as a child process in its own environment."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.peers.rows import REPOSITORY

__all__ = ["AdapterError", "Child", "NotInstalledError", "child_environment"]

_PATIENCE = 120.0  # seconds to wait for one reply


class AdapterError(Exception):
    """An adapter crashed, did not reply, or sent an invalid reply."""


class NotInstalledError(AdapterError):
    """The adapter's environment, a package in it, or the environment that exports its network is missing."""

    def __init__(self, message: str, environment: str = "") -> None:
        super().__init__(message)
        self.environment = environment


class Child:
    """A running adapter. `hello` is its first message."""

    def __init__(self, python: Path, module: str, task: Mapping[str, Any], patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        try:
            self._process = subprocess.Popen(
                [python, "-m", module, json.dumps(task)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=child_environment(),
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise NotInstalledError(f"no {python}") from error
        self.hello: dict[str, Any] = {}
        try:
            self.hello = self._read()
        except BaseException:
            self.end()
            raise

    def ask(self, what: str, count: int) -> list[float]:
        """Time `count` calls, in milliseconds."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{what} {count}\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure() from error
        taken = self._read()
        if not isinstance(taken, list) or len(taken) != count:
            raise AdapterError(f"asked for {count} times, got {json.dumps(taken)[:60]}")
        return [nanoseconds / 1e6 for nanoseconds in taken]

    def end(self) -> None:
        """Close the process's input, then kill it if it does not exit."""
        with self._process, self._log:
            assert self._process.stdin is not None
            with suppress(OSError):  # the process is already dead
                self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], self._patience)[0]:
            raise AdapterError(f"no reply within {self._patience:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        try:
            return json.loads(line)
        except ValueError:
            raise AdapterError(f"invalid reply {line.strip()[:60]!r}") from None

    def _failure(self) -> AdapterError:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines() or ["no message"]
        kind = NotInstalledError if lines[-1].startswith(("ImportError", "ModuleNotFoundError")) else AdapterError
        return kind(f"ended with exit code {code}: {lines[-1]}")


def child_environment() -> dict[str, str]:
    """Environment variables that let the child import this repository's packages."""
    rooms = [str(REPOSITORY), str(REPOSITORY / "edge_runtime")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(rooms)}
