"""Turn findings into problems: what is wrong and what to do, in one line each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spot_edge.doctor.cameras import Cameras
from spot_edge.doctor.examine import Findings
from spot_edge.errors import ModelError, SpotError
from spot_edge.machine import FLAGS, Reading

__all__ = ["Problem", "find_problems"]

_HOT = 80.0  # degrees C, where a Raspberry Pi begins to slow down
_DISK, _MEMORY = 200_000_000, 100_000_000  # bytes
_BY_DEMAND = ("intel_pstate", "amd-pstate-epp")  # drivers whose governor "powersave" does not slow the clock
_UNDER_VOLTAGE = FLAGS[1]


@dataclass(frozen=True, slots=True)
class Problem:
    """One line, and an exit code if classifying does not work (0 for a note)."""

    text: str
    exit_code: int = 0


def find_problems(findings: Findings) -> list[Problem]:
    """First the problems that prevent classification, then notes."""
    model = findings.model if isinstance(findings.model, ModelError) else None
    errors: dict[str, SpotError] = {}
    for error in (findings.software.error, model, findings.selftest.error):
        if error is not None:
            errors.setdefault(str(error), error)  # the self-test may report the same error again
    stops = [Problem(text, error.exit_code) for text, error in errors.items()]
    return stops + [Problem(text) for text in _notes(findings)]


def _notes(findings: Findings) -> Iterator[str]:
    yield from findings.selftest.notes
    yield from _of_cameras(findings.cameras)
    yield from _of_power(findings.reading)
    machine, reading, room = findings.machine, findings.reading, findings.room
    heat = max([*findings.zones.values(), reading.temperature_c or 0.0])
    if heat >= _HOT:
        yield f"hot ({heat:.0f} C): add a heat sink or a fan"
    if reading.governor == "powersave" and machine.clock_driver not in _BY_DEMAND:
        yield (
            "the clock governor powersave keeps the processor at its lowest speed. Change it: "
            "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    for free, where in ((room.here, "in this folder"), (room.temporary, "for temporary files")):
        if free is not None and free < _DISK:
            yield f"the disk is nearly full, {free / 1e6:.0f} MB free {where}: remove files that are not needed"
    if room.memory is not None and room.memory < _MEMORY:
        yield f"little memory, {room.memory / 1e6:.0f} MB available: close other programs"
    for failed in findings.failed:
        yield f"the doctor could not examine the {failed}: please report this"


def _of_cameras(cameras: Cameras) -> Iterator[str]:
    problems = [camera.problem for camera in cameras.seen if camera.problem]
    yield from problems
    if len(problems) < len(cameras.seen):
        return
    if not problems:
        yield "no camera found: plug one in (docs/how-to/use-a-camera.md). Image files work without a camera"
    if cameras.permitted is False and not any("usermod" in problem for problem in problems):
        yield 'this user is not in the group video: run `sudo usermod -aG video "$USER"`, then log in again'


def _of_power(reading: Reading) -> Iterator[str]:
    now, ever = set(reading.signs() or ()), set(reading.signs(since_boot=True) or ())
    if _UNDER_VOLTAGE in now | ever:
        when = "now" if _UNDER_VOLTAGE in now else "since the last start"
        yield f"{_UNDER_VOLTAGE} {when}: use the official power supply and a short cable"
    for names, when in ((now, "now"), (ever - now, "since the last start")):
        slow = [name for name in FLAGS.values() if name in names and name != _UNDER_VOLTAGE]
        if slow:
            yield f"slowed down {when} ({', '.join(slow)}): add a heat sink or a fan, and use a good power supply"
