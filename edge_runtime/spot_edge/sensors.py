"""How the machine fares at one moment: temperature, clock, and what a Raspberry Pi's firmware says of throttling."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from spot_edge.system_files import number_in, text_in

__all__ = ["FLAGS", "SINCE_BOOT", "Reading", "Sensors"]

FLAGS = {1: "under-voltage", 2: "clock capped", 4: "throttled", 8: "soft temperature limit"}
SINCE_BOOT = 16  # the same four bits, this much higher: has occurred since boot

_FLAG_FILE = "devices/platform/soc*/soc*:firmware/get_throttled"


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine at one moment; None for what it does not tell."""

    temperature_c: float | None = None
    mhz: float | None = None  # of the fastest core
    governor: str | None = None
    flags: int | None = None  # of get_throttled
    events: int | None = None  # how often an Intel core was throttled since boot

    def signs(self, *, since_boot: bool = False) -> list[str] | None:
        """The flags by name: those that are up now, or those that have been since boot."""
        if self.flags is None:
            return None
        flags = self.flags >> SINCE_BOOT if since_boot else self.flags
        return [name for bit, name in FLAGS.items() if flags & bit]


@dataclass(frozen=True, slots=True)
class Sensors:
    """Where readings come from. Tests name a folder and a script of their own."""

    root: Path = Path("/")
    vcgencmd: str | None = "vcgencmd"

    def read(self) -> Reading:
        """The machine now."""
        cores = self.root / "sys" / "devices" / "system" / "cpu"
        clocks = [number_in(path) for path in cores.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
        known = [clock for clock in clocks if clock is not None]
        throttles = [number_in(path) for path in cores.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
        counts = [int(count) for count in throttles if count is not None]
        temperature = self._ask("measure_temp", r"temp=(\d+(?:\.\d+)?)")
        return Reading(
            temperature_c=float(temperature) if temperature else max(self.zones().values(), default=None),
            mhz=max(known) / 1000 if known else None,
            governor=text_in(cores / "cpu0" / "cpufreq" / "scaling_governor"),
            flags=self._flags(),
            events=sum(counts) if counts else None,
        )

    def zones(self) -> dict[str, float]:
        """The temperature of each thermal zone, by its type; of two of one type the hotter one's."""
        found: dict[str, float] = {}
        for zone in sorted((self.root / "sys" / "class" / "thermal").glob("thermal_zone*")):
            heat, kind = number_in(zone / "temp"), text_in(zone / "type") or zone.name
            if heat is not None:
                found[kind] = max(heat / 1000, found.get(kind, heat / 1000))
        return found

    def _flags(self) -> int | None:
        """The firmware is asked first: some kernels keep the file's value as it was, and warn of who reads it."""
        said = self._ask("get_throttled", r"=0x([0-9a-fA-F]+)")
        for path in (self.root / "sys").glob(_FLAG_FILE) if said is None else ():
            said = text_in(path)
        try:
            return int(said or "", 16)
        except ValueError:
            return None

    def _ask(self, what: str, pattern: str) -> str | None:
        """What a Raspberry Pi's firmware says."""
        command = self.vcgencmd and shutil.which(self.vcgencmd)
        if not command:
            return None
        try:
            done = subprocess.run([command, what], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, ValueError, subprocess.TimeoutExpired):  # ValueError: what it says is no text
            return None
        found = re.search(pattern, done.stdout)
        return found[1] if found else None
