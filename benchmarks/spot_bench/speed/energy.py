"""Measure the energy of an inference with RAPL or a sensor such as an INA219, if the machine has one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spot_edge.machine import number_in, text_in

__all__ = ["Meter", "Spent", "find_meter"]


@dataclass(frozen=True, slots=True)
class Spent:
    """The energy that the machine, as far as its meter covers it, used while something ran `runs` times."""

    joules: float
    seconds: float
    runs: int

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form. The idle power of the machine is not subtracted."""
        return {"joules": self.joules / self.runs, "watts": self.joules / self.seconds, "runs": self.runs}


@dataclass(frozen=True, slots=True)
class Meter:
    """Energy counters, or a power sensor that is read after every run."""

    name: str
    counters: tuple[tuple[Path, float], ...] = ()  # file in microjoules, and the value at which it wraps to zero
    watts: Callable[[], float | None] | None = None

    def measure(self, work: Callable[[], Any], seconds: float) -> Spent | None:
        """Repeat `work` for `seconds`; return None if the meter fails meanwhile."""
        before, runs = self._count(), 0
        powers: list[float | None] = []
        start = time.perf_counter()
        while not runs or time.perf_counter() - start < seconds:
            work()
            runs += 1
            if self.watts:
                powers.append(self.watts())
        took = time.perf_counter() - start
        if self.watts:
            known = [power for power in powers if power is not None]
            return Spent(took * sum(known) / len(known), took, runs) if known else None
        joules = 0.0
        for old, new, (_, limit) in zip(before, self._count(), self.counters, strict=True):
            if old is None or new is None:
                return None
            joules += (new - old if new >= old else new - old + limit) / 1e6
        return Spent(joules, took, runs)

    def _count(self) -> list[float | None]:
        return [number_in(path) for path, _ in self.counters]


def find_meter(sysfs: Path = Path("/sys")) -> Meter | None:
    """Return the machine's meter, preferring RAPL; None if there is none or it cannot be read."""
    return _rapl(sysfs) or _sensor(sysfs)


def _rapl(sysfs: Path) -> Meter | None:
    """Find the counters of the processor packages. Their parts and the platform would count the same energy twice."""
    counters, names = [], []
    for zone in sorted(sysfs.glob("class/powercap/intel-rapl:*")):
        name, limit = text_in(zone / "name") or zone.name, number_in(zone / "max_energy_range_uj")
        if zone.name.count(":") == 1 and name != "psys" and limit and number_in(zone / "energy_uj") is not None:
            counters.append((zone / "energy_uj", limit))
            names.append(name)
    return Meter(f"RAPL {', '.join(names)}", tuple(counters)) if counters else None


def _sensor(sysfs: Path) -> Meter | None:
    """Find the first hwmon power sensor, preferring one of Texas Instruments' INA family."""
    chips = [(text_in(path / "name") or "", path) for path in sorted(sysfs.glob("class/hwmon/hwmon*"))]
    for name, path in sorted(chips, key=lambda chip: not chip[0].startswith("ina")):
        for power in sorted(path.glob("power*_input")):
            if number_in(power) is not None:
                return Meter(f"{name} {power.name}", watts=_scaled(1e-6, power))
        volts, amperes = path / "in1_input", path / "curr1_input"
        if name.startswith("ina") and number_in(volts) is not None and number_in(amperes) is not None:
            return Meter(f"{name} in1 x curr1", watts=_scaled(1e-6, volts, amperes))  # millivolts, milliamperes
    return None


def _scaled(scale: float, *paths: Path) -> Callable[[], float | None]:
    """Make a function that reads the product of `paths` times `scale`."""

    def read() -> float | None:
        product = scale
        for path in paths:
            value = number_in(path)
            if value is None:
                return None
            product *= value
        return product

    return read
