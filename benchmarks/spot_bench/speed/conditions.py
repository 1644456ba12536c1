"""Describe the machine, and watch it during a measurement: temperature, clock, throttling, other work."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spot_edge.machine import FLAGS, SINCE_BOOT, Reading, Sensors, read_machine, text_in

__all__ = ["BUSY", "Watch", "describe_machine", "throttling"]


def describe_machine() -> dict[str, str | int | None]:
    """Return system, processor, usable cores, clock governor (None: unknown) and Python version."""
    machine = read_machine()
    return {
        "system": machine.kernel,
        "architecture": machine.architecture,
        "cpu": machine.board or machine.processor or platform.processor() or machine.architecture,
        "cores": machine.cores,
        "governor": Sensors(vcgencmd=None).read().governor,
        "python": platform.python_version(),
    }


BUSY = 0.10  # more than this share of the processors for other work makes figures unstable

_EVERY = 2.0  # seconds between readings: vcgencmd takes some milliseconds
_FALL = 0.90  # a clock below this share of its start under load counts as throttled


class Watch:
    """Take readings before, at the start of, during and after a measurement."""

    def __init__(self, sensors: Sensors) -> None:
        self._sensors = sensors
        self._before = sensors.read()
        self._start = self._before
        self._during: list[Reading] = []
        self._next = 0.0
        self._ticks: tuple[float, float] | None = None
        self._own = 0.0

    def start(self) -> None:
        """Begin the measurement, after warm-up, when the clock is that under load."""
        self._start = self._sensors.read()
        self._ticks, self._own = _ticks(self._sensors.root), _own_seconds()
        self._next = time.monotonic() + _EVERY

    def sample(self) -> None:
        """Take a reading, unless the last one was a moment ago. Call this between two rounds."""
        if time.monotonic() >= self._next:
            self._during.append(self._sensors.read())
            self._next = time.monotonic() + _EVERY

    def finish(self) -> dict[str, Any]:
        """End the measurement: return readings, ranges during the rounds, and whether the machine was throttled."""
        other_work = self._other_work()
        self._during.append(self._sensors.read())  # still warm from the last round
        after, loaded = self._sensors.read(), [self._start, *self._during]
        why = throttling(self._before, self._start, [*self._during, after])
        return {
            "before": asdict(self._before),
            "start": asdict(self._start),
            "during": {
                "readings": len(loaded),
                "temperature_c": _range([reading.temperature_c for reading in loaded]),
                "mhz": _range([reading.mhz for reading in loaded]),
            },
            "after": asdict(after),
            "throttled": None if why is None else bool(why),
            "why": why or [],
            "other_work": other_work,
        }

    def _other_work(self) -> float | None:
        """Return the share of all processor time since the start that other processes or virtual machines used."""
        before, now = self._ticks, _ticks(self._sensors.root)
        if before is None or now is None or now[0] <= before[0]:
            return None
        own = (_own_seconds() - self._own) * os.sysconf("SC_CLK_TCK")
        return min(max((now[1] - before[1] - own) / (now[0] - before[0]), 0.0), 1.0)


def throttling(before: Reading, start: Reading, later: Sequence[Reading]) -> list[str] | None:
    """Return the signs of throttling between `before` and the last of `later`; None if this machine reports nothing.

    The clock is compared with `start`, which was read under load, because the clock of an idle machine depends on its
    governor. The last of `later` may be idle again, so its clock does not count.
    """
    readings = [start, *later]
    if all(reading.flags is reading.events is reading.mhz is None for reading in readings):
        return None
    why = []
    flags, old = [reading.flags for reading in readings if reading.flags is not None], before.flags or 0
    for bit, name in FLAGS.items():
        past = bit << SINCE_BOOT
        if any(value & bit or value & past & ~old for value in flags):
            why.append(name)
    if before.events is not None and any((reading.events or 0) > before.events for reading in readings):
        why.append("cores throttled themselves")
    clocks = [reading.mhz for reading in later[:-1] if reading.mhz is not None]
    if start.mhz and clocks and min(clocks) < _FALL * start.mhz:
        why.append(f"clock fell from {start.mhz:.0f} to {min(clocks):.0f} MHz")
    return why


def _ticks(root: Path) -> tuple[float, float] | None:
    """Return the time of all processors since boot, and how much of it was busy, in clock ticks."""
    line = (text_in(root / "proc" / "stat") or "").partition("\n")[0]
    try:
        spent = [int(word) for word in line.split()[1:9]]
        return sum(spent), sum(spent) - spent[3] - spent[4]  # idle, and waiting for a disk
    except (ValueError, IndexError):
        return None


def _own_seconds() -> float:
    """Return the processor time of this process and its finished children."""
    return sum(os.times()[:4])


def _range(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    return [min(known), max(known)] if known else None
