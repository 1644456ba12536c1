"""Which runtimes run a .tflite: by really opening it, or by the versions of its operators."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import Any

from spot_convert.inspect.graph import Code, Flatbuffer, read_flatbuffer
from spot_convert.inspect.trial import try_out
from spot_convert.runtimes.micro.source import registrations
from spot_convert.runtimes.micro.trial import try_in_micro
from spot_edge.isolated import Crash, call_isolated
from spot_edge.model.interpreter import RUNTIMES

__all__ = ["Verdict", "judge", "unsupported", "unsupported_parts"]

_SECONDS = 300
_LITERT, _OLD, _MICRO = "ai-edge-litert", "tflite-runtime", "tflite-micro"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a runtime makes of a file."""

    runtime: str
    version: str
    runs: bool | None  # None: not known
    opened: bool  # it was really tried here; else judged by its operators' versions
    notes: tuple[str, ...] = ()  # why not, or what is odd though it runs
    untried: str = ""  # why it was not opened
    needs: dict[str, Any] | None = None  # of a microcontroller that is to run it: arena and operators

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self) | {"notes": list(self.notes)}


def unsupported(flatbuffer: bytes) -> list[str]:
    """What in `flatbuffer` tflite-runtime 2.14 does not have, such as `FULLY_CONNECTED version 12 (it has up to 10)`.

    Empty for a file that it opens. Its kernels may still refuse a combination of types: only opening a file shows that.
    """
    return unsupported_parts(read_flatbuffer(flatbuffer, "model"))


def unsupported_parts(model: Flatbuffer) -> list[str]:
    """The same for a file that was read already."""
    known = _old()
    lacking = [_lacks(code, known) for code in model.codes]
    kinds = {tensor.dtype for graph in model.graphs for tensor in graph.tensors} - set(known["types"])
    return sorted({reason for reason in lacking if reason}) + [f"tensors of type {kind}" for kind in sorted(kinds)]


def judge(content: bytes, model: Flatbuffer) -> Iterator[Verdict]:
    """What LiteRT, tflite-runtime and tflite-micro make of the file: each in a process of its own, where installed."""
    yield _tried(_LITERT, content)
    old = _tried(_OLD, content)
    if not old.opened:
        lacking = tuple(unsupported_parts(model))
        old = Verdict(_OLD, _old()["release"], not lacking, False, lacking, old.untried)
    yield old
    yield _tried_in_micro(content, model)


def _tried(runtime: str, content: bytes) -> Verdict:
    """What came of really running the file, where the runtime is installed here and works."""
    try:
        version = metadata.version(runtime)
    except metadata.PackageNotFoundError:
        return Verdict(runtime, "", None, False, untried="not installed here")
    try:
        trial = call_isolated(_SECONDS, try_out, RUNTIMES[runtime][0], content)
    except Crash as crash:
        return Verdict(runtime, version, False, True, (str(crash),))
    if trial.broken:
        return Verdict(runtime, version, None, False, untried=f"it does not work here: {trial.note}")
    return Verdict(runtime, version, trial.runs, True, (trial.note,) if trial.note else ())


def _tried_in_micro(content: bytes, model: Flatbuffer) -> Verdict:
    """The same for tflite-micro, with the arena and the operators that a microcontroller needs."""
    try:
        version = metadata.version(_MICRO)
    except metadata.PackageNotFoundError:
        return Verdict(_MICRO, "", None, False, untried="not installed here")
    try:
        trial = call_isolated(_SECONDS, try_in_micro, content)
    except Crash as crash:
        return Verdict(_MICRO, version, False, True, (str(crash),))
    if trial.broken:
        return Verdict(_MICRO, version, None, False, untried=f"it does not work here: {trial.note}")
    if trial.note:
        return Verdict(_MICRO, version, False, True, (trial.note,))
    kinds = (operator.code.kind for graph in model.graphs for operator in graph.operators)
    operators = tuple(registrations(kinds))
    return Verdict(_MICRO, version, True, True, needs=trial.as_dict() | {"operators": operators})


@cache
def _old() -> dict[str, Any]:
    return tomllib.loads((files("spot_convert.runtimes") / "tflite-runtime-2.14.toml").read_text("utf-8"))


def _lacks(code: Code, known: dict[str, Any]) -> str | None:
    """Why the old runtime has no such operator, or None if it has."""
    if code.custom is not None:
        return None if code.custom in known["custom"] else f"custom operator {code.custom!r} (it has none so named)"
    if code.kind not in known["operators"]:
        return f"{code.kind} (it has none)"
    low, high = known["operators"][code.kind]
    if low <= code.version <= high:
        return None
    return f"{code.kind} version {code.version} (it has {f'up to {high}' if code.version > high else f'{low} and up'})"
