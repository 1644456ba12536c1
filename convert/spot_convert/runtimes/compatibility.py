"""Find out which runtimes run a .tflite file: run it there if possible, else look at the versions of its operators."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import Any

from spot_convert.inspect.graph import Code, Flatbuffer, read_flatbuffer
from spot_convert.inspect.running import try_out
from spot_convert.runtimes.micro.source import registrations
from spot_convert.runtimes.micro.trial import try_in_micro
from spot_convert.variants.catalog import LITERT, TFLITE_MICRO, TFLITE_RUNTIME
from spot_edge.errors import CheckError
from spot_edge.isolated import Crash, call_isolated
from spot_edge.model.interpreter import RUNTIMES

__all__ = ["Compatibility", "check_operators", "try_runtimes", "unsupported", "unsupported_parts"]

_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Whether a runtime runs a file."""

    runtime: str
    version: str
    runs: bool | None  # None: unknown
    opened: bool  # the file was run here; else `runs` follows from its operators' versions
    notes: tuple[str, ...] = ()  # why it does not run, or what is odd although it runs
    untried: str = ""  # why it was not opened
    needs: dict[str, Any] | None = None  # arena and operators on a microcontroller

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self) | {"notes": list(self.notes)}


def unsupported(flatbuffer: bytes) -> list[str]:
    """List what tflite-runtime 2.14 lacks for this file, such as `FULLY_CONNECTED version 12 (it has up to 10)`.

    An empty list does not prove that it runs the file: its kernels may still reject a combination of types.
    """
    return unsupported_parts(read_flatbuffer(flatbuffer, "model"))


def check_operators(flatbuffer: bytes, name: str, runtime: str) -> None:
    """Raise CheckError if `runtime` is tflite-runtime and lacks operators or types of the file."""
    if runtime == TFLITE_RUNTIME and (lacking := unsupported(flatbuffer)):
        raise CheckError(f"{name}: {TFLITE_RUNTIME} cannot run {', '.join(lacking)}")


def unsupported_parts(model: Flatbuffer) -> list[str]:
    """Do the same as `unsupported` for a file that is read already."""
    known = _tflite_runtime_operators()
    lacking = [_reason_lacking(code, known) for code in model.codes]
    kinds = {tensor.dtype for graph in model.graphs for tensor in graph.tensors} - set(known["types"])
    return sorted({reason for reason in lacking if reason}) + [f"tensors of type {kind}" for kind in sorted(kinds)]


def try_runtimes(content: bytes, model: Flatbuffer) -> Iterator[Compatibility]:
    """Try the file in LiteRT, tflite-runtime and tflite-micro, each in a subprocess, if they are installed."""
    yield _tried(LITERT, content)
    old = _tried(TFLITE_RUNTIME, content)
    if not old.opened:
        lacking = tuple(unsupported_parts(model))
        old = Compatibility(
            TFLITE_RUNTIME, _tflite_runtime_operators()["release"], not lacking, False, lacking, old.untried
        )
    yield old
    yield _tried_in_micro(content, model)


def _tried(runtime: str, content: bytes) -> Compatibility:
    """Run the file, if the runtime is installed here and works."""
    try:
        version = metadata.version(runtime)
    except metadata.PackageNotFoundError:
        return Compatibility(runtime, "", None, False, untried="not installed here")
    try:
        trial = call_isolated(_SECONDS, try_out, RUNTIMES[runtime][0], content)
    except Crash as crash:
        return Compatibility(runtime, version, False, True, (str(crash),))
    if trial.broken:
        return Compatibility(runtime, version, None, False, untried=f"it does not work here: {trial.note}")
    return Compatibility(runtime, version, trial.runs, True, (trial.note,) if trial.note else ())


def _tried_in_micro(content: bytes, model: Flatbuffer) -> Compatibility:
    """Run the file in tflite-micro, and measure the arena and list the operators that a microcontroller needs."""
    try:
        version = metadata.version(TFLITE_MICRO)
    except metadata.PackageNotFoundError:
        return Compatibility(TFLITE_MICRO, "", None, False, untried="not installed here")
    try:
        trial = call_isolated(_SECONDS, try_in_micro, content)
    except Crash as crash:
        return Compatibility(TFLITE_MICRO, version, False, True, (str(crash),))
    if trial.broken:
        return Compatibility(TFLITE_MICRO, version, None, False, untried=f"it does not work here: {trial.note}")
    if trial.note:
        return Compatibility(TFLITE_MICRO, version, False, True, (trial.note,))
    kinds = (operator.code.kind for graph in model.graphs for operator in graph.operators)
    operators = tuple(registrations(kinds))
    return Compatibility(TFLITE_MICRO, version, True, True, needs=trial.as_dict() | {"operators": operators})


@cache
def _tflite_runtime_operators() -> dict[str, Any]:
    return tomllib.loads((files("spot_convert.runtimes") / "tflite-runtime-2.14.toml").read_text("utf-8"))


def _reason_lacking(code: Code, known: dict[str, Any]) -> str | None:
    """Return why tflite-runtime 2.14 lacks the operator, or None if it has it."""
    if code.custom is not None:
        return None if code.custom in known["custom"] else f"custom operator {code.custom!r} (unknown to it)"
    if code.kind not in known["operators"]:
        return f"{code.kind} (unknown to it)"
    low, high = known["operators"][code.kind]
    if low <= code.version <= high:
        return None
    return f"{code.kind} version {code.version} (it has {f'up to {high}' if code.version > high else f'{low} and up'})"
