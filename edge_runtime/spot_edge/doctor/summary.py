"""The doctor's findings, as text for a bug report or as JSON, without the names of users."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from spot_edge.doctor.cameras import CameraStatus
from spot_edge.doctor.examine import Findings
from spot_edge.doctor.problems import Problem
from spot_edge.doctor.selftest import EQUAL, SelfTest
from spot_edge.errors import ModelError, one_line
from spot_edge.machine import Reading
from spot_edge.model.file import ModelFile
from spot_edge.model.spec import as_data

__all__ = ["SCHEMA", "as_record", "report_lines", "without_users"]

_HOMES = re.compile(r"(/home/|/Users/|\\Users\\)[^/\\:'\"]+")


def without_users(value: Any) -> Any:
    """`value` with ~ in place of home folders in all texts, at any depth."""
    if isinstance(value, str):
        home = os.path.expanduser("~")
        return _HOMES.sub("~", value.replace(home, "~") if len(home) > 1 else value)
    if isinstance(value, dict):
        return {key: without_users(inner) for key, inner in value.items()}
    return [without_users(inner) for inner in value] if isinstance(value, list | tuple) else value


SCHEMA = 1


def as_record(findings: Findings, problems: Sequence[Problem]) -> dict[str, Any]:
    """The JSON form, schema 1. Unknown values are null."""
    software, selftest, reading = findings.software, findings.selftest, findings.reading
    record = {
        "schema": SCHEMA,
        "spot_edge": software.spot_edge,
        "python": software.python,
        "machine": asdict(findings.machine),
        "packages": software.packages,
        "interpreters": software.interpreters,
        "interpreter": software.used,
        "model": _model_record(findings.model),
        "self_test": {
            "passed": selftest.passed,
            "ended_at": selftest.step,
            "load_ms": selftest.load_ms,
            "first_ms": selftest.first_ms,
            "median_ms": selftest.median_ms,
            "runs": selftest.runs,
            "away": selftest.away,
        },
        "cameras": [asdict(camera) for camera in findings.cameras.seen],
        "cameras_permitted": findings.cameras.permitted,
        "sensors": asdict(reading) | {"zones_c": findings.zones},
        "throttling": {"now": reading.signs(), "since_boot": reading.signs(since_boot=True)},
        "free_bytes": asdict(findings.room),
        "problems": [asdict(problem) for problem in problems],
    }
    found: dict[str, Any] = without_users(record)
    return found


def _model_record(model: ModelFile | ModelError | None) -> dict[str, Any] | None:
    if not isinstance(model, ModelFile):
        return None
    spec = model.spec
    return {
        "file": model.name,
        "name": spec.name,
        "variant": spec.variant,
        "id": model.id,
        "bytes": len(model.content),
        "measured_in": as_data(spec.measured_in),
    }


_WIDTH, _KEY = 80, 12
_UNKNOWN = "unknown"


def report_lines(findings: Findings, problems: Sequence[Problem]) -> list[str]:
    """The report as lines: facts first, then problems and notes."""
    lines = []
    for key, value in _rows(findings):
        lines += _wrapped(f"{key:<{_KEY}}", value)
    stops = [problem.text for problem in problems if problem.exit_code]
    notes = [problem.text for problem in problems if not problem.exit_code]
    none = "classifying works" if problems else "none"
    lines += ["", "problems:" if stops else f"problems: {none}"]
    for texts, title in ((stops, []), (notes, ["", "notes:"])):
        lines += title if texts else []
        for text in texts:
            lines += _wrapped("- ", text)
    return lines


def _rows(findings: Findings) -> Iterator[tuple[str, str]]:
    machine, software, room = findings.machine, findings.software, findings.room
    yield "spot-edge", software.spot_edge
    yield "python", _joined(software.python, machine.bits and f"{machine.bits} bits")
    yield "machine", machine.board or machine.processor or _UNKNOWN
    yield (
        "processor",
        _joined(
            machine.board and machine.processor,
            machine.architecture,
            machine.narrow and "32-bit programs on a 64-bit kernel (see linux32 in docs/how-to/install.md)",
            machine.cores and f"{machine.cores} core{'s' * (machine.cores > 1)}",
        ),
    )
    yield "memory", _joined(_size(machine.memory), room.memory is not None and f"{_size(room.memory)} available")
    yield "system", _joined(machine.system, machine.kernel)
    yield "packages", _joined(*(f"{name} {version or _UNKNOWN}" for name, version in software.packages.items()))
    found = software.interpreters.items()
    yield (
        "interpreter",
        _joined(*(f"{name} {version or ''}".strip() + " (used)" * (name == software.used) for name, version in found))
        if found
        else "none",
    )
    yield from _model_rows(findings.model)
    yield "self-test", _selftest(findings.selftest)
    cameras = [_camera(status) for status in findings.cameras.seen] or ["none found"]
    yield "cameras", cameras[0]
    yield from (("", camera) for camera in cameras[1:])
    yield "temperature", _temperature(findings)
    yield "clock", _clock(findings)
    yield "throttling", _throttling(findings.reading)
    yield "free disk", f"{_size(room.here)} here, {_size(room.temporary)} for temporary files"


def _model_rows(model: ModelFile | ModelError | None) -> Iterator[tuple[str, str]]:
    if not isinstance(model, ModelFile):
        yield "model", _UNKNOWN if model is None else "rejected"
        return
    spec = model.spec
    yield "model", f"{model.name}: '{spec.name}', variant {spec.variant}, {_size(len(model.content))}, undamaged"
    yield "id", model.id
    yield "measured in", f"{spec.measured_in.runtime} {spec.measured_in.version}"


def _selftest(selftest: SelfTest) -> str:
    if selftest.median_ms is None:
        return f"failed at '{selftest.step}'" if selftest.step else _UNKNOWN
    median, first = _milliseconds(selftest.median_ms), _milliseconds(selftest.first_ms)
    word = "passed" if selftest.passed else "failed"
    return f"{word}: {_agreement(selftest.away)} in {median} (median of {selftest.runs}, first {first})"


def _agreement(away: float | None) -> str:
    if away is None:
        return "classified"
    return f"scores up to {away:.2f} away from the expected ones" if away > EQUAL else "the expected scores"


def _camera(status: CameraStatus) -> str:
    if status.name == "?":
        return f"{status.path}: cannot be opened"
    return f"{status.path}: {status.name}" + f" ({', '.join(status.formats)})" * bool(status.formats)


def _temperature(findings: Findings) -> str:
    zones = [f"{heat:.1f} C ({kind})" for kind, heat in findings.zones.items()]
    firmware = findings.reading.temperature_c
    return _joined(*zones) if zones or firmware is None else f"{firmware:.1f} C"


def _clock(findings: Findings) -> str:
    now, most = findings.reading.mhz, findings.machine.max_mhz
    return _joined(
        now and f"{now:.0f} MHz now",
        most and f"{most:.0f} MHz at most",
        findings.reading.governor and f"governor {findings.reading.governor}",
    )


def _throttling(reading: Reading) -> str:
    now, ever = reading.signs(), reading.signs(since_boot=True)
    if now is not None:
        return f"now: {', '.join(now) or 'none'}; since the last start: {', '.join(ever or ()) or 'none'}"
    return _UNKNOWN if reading.events is None else f"{reading.events} times since the last start"


def _joined(*parts: str | bool | int | float | None) -> str:
    return ", ".join(str(part) for part in parts if part) or _UNKNOWN


def _size(count: int | None) -> str:
    if count is None:
        return _UNKNOWN
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _milliseconds(time: float | None) -> str:
    return _UNKNOWN if time is None else f"{time:.0f} ms" if time >= 100 else f"{time:.3g} ms"


def _wrapped(lead: str, text: str) -> list[str]:
    return textwrap.wrap(
        one_line(without_users(text)),
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
