"""What is wrong with what was found, and what to do: each in one line."""

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
_BY_DEMAND = ("intel_pstate", "amd-pstate-epp")  # drivers whose governor "powersave" does not hold the clock down
_UNDER_VOLTAGE = FLAGS[1]


@dataclass(frozen=True, slots=True)
class Problem:
    """One line, and the exit code of what it keeps from working; 0 for a note."""

    text: str
    exit_code: int = 0


def find_problems(findings: Findings) -> list[Problem]:
    """What keeps pictures from being judged, and then what is merely to be remarked."""
    model = findings.model if isinstance(findings.model, ModelError) else None
    errors: dict[str, SpotError] = {}
    for error in (findings.software.error, model, findings.selftest.error):
        if error is not None:
            errors.setdefault(str(error), error)  # the self-test may end by what was found before it
    stops = [Problem(text, error.exit_code) for text, error in errors.items()]
    return stops + [Problem(text) for text in _notes(findings)]


def _notes(findings: Findings) -> Iterator[str]:
    yield from findings.selftest.notes
    yield from _of_cameras(findings.cameras)
    yield from _of_power(findings.reading)
    machine, reading, room = findings.machine, findings.reading, findings.room
    heat = max([*findings.zones.values(), reading.temperature_c or 0.0])
    if heat >= _HOT:
        yield f"hot: {heat:.0f} C: give it a heat sink, a fan or air"
    if reading.governor == "powersave" and machine.clock_driver not in _BY_DEMAND:
        yield (
            "the clock governor powersave holds the processor at its slowest: "
            "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        )
    for free, where in ((room.here, "in this folder"), (room.temporary, "for temporary files")):
        if free is not None and free < _DISK:
            yield f"the disk is nearly full: {free / 1e6:.0f} MB free {where}: remove what is not needed"
    if room.memory is not None and room.memory < _MEMORY:
        yield f"little memory: {room.memory / 1e6:.0f} MB available: end other programs"
    for failed in findings.failed:
        yield f"the doctor could not look at the {failed}: please report it"


def _of_cameras(cameras: Cameras) -> Iterator[str]:
    problems = [camera.problem for camera in cameras.seen if camera.problem]
    yield from problems
    if len(problems) < len(cameras.seen):
        return
    if not problems:
        yield "no camera found: plug one in, or see docs/camera.md; files can be classified without"
    if cameras.permitted is False and not any("usermod" in problem for problem in problems):
        yield 'this user is not in the group video: run `sudo usermod -aG video "$USER"`, then log in again'


def _of_power(reading: Reading) -> Iterator[str]:
    now, ever = set(reading.signs() or ()), set(reading.signs(since_boot=True) or ())
    if _UNDER_VOLTAGE in now | ever:
        when = "now" if _UNDER_VOLTAGE in now else "since the last start"
        yield f"{_UNDER_VOLTAGE} {when}: use the power supply made for this board, and a short cable"
    for names, when in ((now, "now"), (ever - now, "since the last start")):
        slow = [name for name in FLAGS.values() if name in names and name != _UNDER_VOLTAGE]
        if slow:
            yield f"slowed down {when} ({', '.join(slow)}): cool it with a heat sink or a fan, and power it well"
