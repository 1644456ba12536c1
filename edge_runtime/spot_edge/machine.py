"""What the machine is: its board, processor, memory and system, as the kernel tells them."""

from __future__ import annotations

import os
import platform
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from spot_edge.system_files import number_in, text_in

__all__ = ["Machine", "available_memory", "read_machine"]

_BOARDS = ("proc/device-tree/model", "sys/firmware/devicetree/base/model")
_SYSTEMS = ("etc/os-release", "usr/lib/os-release")
_PARTS = {  # ARM's numbers of the processors that Raspberry Pis have: on 64 bits the kernel tells no more
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xd03": "Cortex-A53",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What does not change while it runs; None for what it does not tell."""

    board: str | None = None  # a Raspberry Pi's own name
    processor: str | None = None
    architecture: str | None = None  # in the kernel's words
    bits: int | None = None  # of this program
    cores: int | None = None  # that this process may use
    max_mhz: float | None = None
    clock_driver: str | None = None
    memory: int | None = None  # bytes
    system: str | None = None
    kernel: str | None = None

    @property
    def narrow(self) -> bool:
        """Whether this is a 32-bit program on a 64-bit kernel; `armv8l` is what linux32 makes of aarch64."""
        return self.bits == 32 and self.architecture is not None and bool(re.search("64|^armv8l", self.architecture))


def read_machine(root: Path = Path("/")) -> Machine:
    """This machine, with the kernel's files read under `root`."""
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
    """Bytes that a new program may have before the system must swap."""
    return _memory(root, "MemAvailable")


def _memory(root: Path, key: str) -> int | None:
    size, _, unit = _pairs(root / "proc" / "meminfo", ":").get(key, "").partition(" ")
    return 1024 * int(size) if size.isdecimal() and unit == "kB" else None


def _pairs(path: Path, separator: str) -> dict[str, str]:
    """The file's lines of a key and a value; of a key that comes again, as for every core, the first."""
    found: dict[str, str] = {}
    for line in (text_in(path) or "").splitlines():
        key, _, value = line.partition(separator)
        if value := value.strip().strip("\"'"):
            found.setdefault(key.strip(), value)
    return found
