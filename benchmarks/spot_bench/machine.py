"""The machine that a figure was measured on, in the few words that a reader of the figure needs."""

from __future__ import annotations

import platform

from spot_edge.machine import read_machine
from spot_edge.sensors import Sensors

__all__ = ["describe_machine"]


def describe_machine() -> dict[str, str | int | None]:
    """System, processor, cores that this process may use, clock governor (None: not known) and Python version."""
    machine = read_machine()
    return {
        "system": machine.kernel,
        "architecture": machine.architecture,
        "cpu": machine.board or machine.processor or platform.processor() or machine.architecture,
        "cores": machine.cores,
        "governor": Sensors(vcgencmd=None).read().governor,
        "python": platform.python_version(),
    }
