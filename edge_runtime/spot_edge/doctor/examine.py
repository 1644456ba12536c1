"""Everything that the doctor looks at, each part by itself: one that fails leaves the others as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from spot_edge.camera.kernel import Kernel
from spot_edge.doctor.cameras import Cameras, read_cameras
from spot_edge.doctor.room import Room, read_room
from spot_edge.doctor.selftest import SelfTest, run_selftest
from spot_edge.doctor.software import Software, read_software
from spot_edge.errors import ModelError
from spot_edge.machine import Machine, read_machine
from spot_edge.modelfile import ModelFile, read_model
from spot_edge.sensors import Reading, Sensors

__all__ = ["Findings", "examine"]

_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found; a part of which nothing is known holds its defaults."""

    machine: Machine = field(default_factory=Machine)
    software: Software = field(default_factory=Software)
    model: ModelFile | ModelError | None = None
    selftest: SelfTest = field(default_factory=SelfTest)
    cameras: Cameras = field(default_factory=Cameras)
    reading: Reading = field(default_factory=Reading)
    zones: dict[str, float] = field(default_factory=dict)
    room: Room = field(default_factory=Room)
    failed: tuple[str, ...] = ()  # parts that could not be looked at, and why


def examine(
    path: str | None = None, root: Path = Path("/"), kernel: Kernel | None = None, vcgencmd: str = "vcgencmd"
) -> Findings:
    """Look at this machine, with the kernel's files read under `root`, and at the model at `path`."""
    failed: list[str] = []

    def part(name: str, read: Callable[[], _Part], nothing: _Part) -> _Part:
        try:
            return read()
        except Exception as error:  # a bug, or a system such as nobody has seen: the rest is still to be told
            failed.append(f"{name}: {type(error).__name__}: {error}")
            return nothing

    sensors = Sensors(root, vcgencmd)
    return Findings(
        machine=part("machine", lambda: read_machine(root), Machine()),
        reading=part("sensors", sensors.read, Reading()),  # before the self-test warms it up
        zones=part("temperature", sensors.zones, {}),
        room=part("room", lambda: read_room(root), Room()),
        software=part("software", read_software, Software()),
        model=part("model", lambda: _model(path), None),
        cameras=part("cameras", lambda: read_cameras(kernel or Kernel()), Cameras()),
        selftest=part("self-test", lambda: run_selftest(path), SelfTest()),
        failed=tuple(failed),
    )


def _model(path: str | None) -> ModelFile | ModelError:
    try:
        return read_model(path)
    except ModelError as error:
        return error
