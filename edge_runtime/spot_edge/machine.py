"""Facts about this machine from /proc, /sys and a Raspberry Pi's firmware.

`read_machine` returns what does not change (board, processor, memory, system), and `Sensors.read` temperature, clock
and throttling at this moment. What is not known is None.
"""

from __future__ import annotations

import math
import os
import platform
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "FLAGS",
    "SINCE_BOOT",
    "Machine",
    "Reading",
    "Sensors",
    "available_memory",
    "number_in",
    "read_machine",
    "text_in",
]


def text_in(path: Path) -> str | None:
    """The file's text without surrounding whitespace and NUL bytes, or None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip(" \t\r\n\0")
    except OSError:  # some thermal zones exist but cannot be read
        return None


def number_in(path: Path) -> float | None:
    """The finite number in the file, or None."""
    try:
        number = float(text_in(path) or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_BOARDS = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_SYSTEMS = ("etc/os-release", "usr/lib/os-release")
_PARTS = {  # ARM part numbers of Raspberry Pi processors: a 64-bit kernel reports no name
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while the machine runs. Unknown values are None."""

    board: str | None = None  # only a Raspberry Pi reports one
    processor: str | None = None
    architecture: str | None = None  # as the kernel calls it
    bits: int | None = None  # of this program
    cores: int | None = None  # available to this process
    max_mhz: float | None = None
    clock_driver: str | None = None
    memory: int | None = None  # bytes
    system: str | None = None
    kernel: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether this is a 32-bit program on a 64-bit kernel. Under linux32, aarch64 reports itself as `armv8l`."""
        return self.bits == 32 and self.architecture is not None and bool(re.search("64|^armv8l", self.architecture))


def read_machine(root: Path = Path("/")) -> Machine:
    """Describe this machine from the files under `root`."""
    cpuinfo = _pairs(root / "proc" / "cpuinfo", ":")
    boards = [text_in(root / board) for board in _BOARDS]
    systems = [_pairs(root / system, "=").get("PRETTY_NAME") for system in _SYSTEMS]
    cores = root / "sys" / "devices" / "system" / "cpu"
    limits = [number_in(path) for path in cores.glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq")]
    return Machine(
        board=next(filter(None, [*boards, cpuinfo.get("Model")]), None),
        processor=_PARTS.get(cpuinfo.get("CPU part", "")) or cpuinfo.get("model name") or cpuinfo.get("Hardware"),
        architecture=platform.machine(),
        bits=8 * struct.calcsize("P"),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        max_mhz=max((limit / 1000 for limit in limits if limit is not None), default=None),
        clock_driver=text_in(cores / "cpu0" / "cpufreq" / "scaling_driver"),
        memory=_memory(root, "MemTotal"),
        system=next(filter(None, systems), None),
        kernel=f"{platform.system()} {platform.release()}",
    )


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that a new program can use before the system starts to swap."""
    return _memory(root, "MemAvailable")


def _memory(root: Path, key: str) -> int | None:
    size, _, unit = _pairs(root / "proc" / "meminfo", ":").get(key, "").partition(" ")
    return 1024 * int(size) if size.isdecimal() and unit == "kB" else None


def _pairs(path: Path, separator: str) -> dict[str, str]:
    """The file's key-value lines. If a key repeats, as for each core, the first one counts."""
    found: dict[str, str] = {}
    for line in (text_in(path) or "").splitlines():
        key, _, value = line.partition(separator)
        if value := value.strip().strip("\"'"):
            found.setdefault(key.strip(), value)
    return found


FLAGS = {1: "under-voltage", 2: "clock capped", 4: "throttled", 8: "soft temperature limit"}
SINCE_BOOT = 16  # shift of the same four flags that mean "has occurred since boot"

_FLAG_FILE = "devices/platform/soc*/soc*:firmware/get_throttled"


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine at one moment. Unknown values are None."""

    temperature_c: float | None = None
    mhz: float | None = None  # of the fastest core
    governor: str | None = None
    flags: int | None = None  # of get_throttled
    events: int | None = None  # how often Intel cores were throttled since boot

    def signs(self, *, since_boot: bool = False) -> list[str] | None:
        """The names of the throttling flags that are set now, or that have been set since boot."""
        if self.flags is None:
            return None
        flags = self.flags >> SINCE_BOOT if since_boot else self.flags
        return [name for bit, name in FLAGS.items() if flags & bit]


@dataclass(frozen=True, slots=True)
class Sensors:
    """Where readings come from. Tests pass their own folder and script."""

    root: Path = Path("/")
    vcgencmd: str | None = "vcgencmd"

    def read(self) -> Reading:
        """Read temperature, clock and throttling now."""
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
        """The temperature of each type of thermal zone. If two zones share a type, the hotter one counts."""
        found: dict[str, float] = {}
        for zone in sorted((self.root / "sys" / "class" / "thermal").glob("thermal_zone*")):
            heat, kind = number_in(zone / "temp"), text_in(zone / "type") or zone.name
            if heat is not None:
                found[kind] = max(heat / 1000, found.get(kind, heat / 1000))
        return found

    def _flags(self) -> int | None:
        """The throttling flags. The firmware comes first: some kernels do not refresh the file."""
        said = self._ask("get_throttled", r"=0x([0-9a-fA-F]+)")
        for path in (self.root / "sys").glob(_FLAG_FILE) if said is None else ():
            said = text_in(path)
        try:
            return int(said or "", 16)
        except ValueError:
            return None

    def _ask(self, what: str, pattern: str) -> str | None:
        """Query a Raspberry Pi's firmware."""
        command = self.vcgencmd and shutil.which(self.vcgencmd)
        if not command:
            return None
        try:
            done = subprocess.run([command, what], capture_output=True, text=True, timeout=5, check=False)
        except (OSError, ValueError, subprocess.TimeoutExpired):  # ValueError: undecodable output
            return None
        found = re.search(pattern, done.stdout)
        return found[1] if found else None
