"""The machine that a figure was measured on, in the few words that a reader of the figure needs."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from spot_bench.system_files import text_in

__all__ = ["describe_machine"]

_BOARD = Path("/proc/device-tree/model")  # a Raspberry Pi's own name
_CPUINFO = Path("/proc/cpuinfo")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe_machine() -> dict[str, str | int | None]:
    """System, processor, cores that this process may use, clock governor (None: not known) and Python version."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": _board() or _cpu_model() or platform.processor() or platform.machine(),
        "cores": cores,
        "governor": text_in(_GOVERNOR),
        "python": platform.python_version(),
    }


def _board() -> str | None:
    return (text_in(_BOARD) or "").rstrip("\0") or None


def _cpu_model() -> str | None:
    for line in (text_in(_CPUINFO) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() in ("model name", "hardware") and value.strip():
            return value.strip()
    return None
