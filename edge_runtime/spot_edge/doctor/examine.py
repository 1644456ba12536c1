"""How much room there is for what is to be kept: on the disk and in memory.

Which Python and which packages there are, by what pip wrote down: nothing is imported that might be broken.

Everything that the doctor looks at, each part by itself: one that fails leaves the others as they are."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from spot_edge import __version__
from spot_edge.camera.v4l2 import Kernel
from spot_edge.doctor.cameras import Cameras, read_cameras
from spot_edge.doctor.selftest import SelfTest, run_selftest
from spot_edge.errors import InterpreterError, ModelError
from spot_edge.machine import Machine, Reading, Sensors, available_memory, read_machine
from spot_edge.model.file import ModelFile, read_model
from spot_edge.model.interpreter import RUNTIMES, find_runtime, installed_runtimes

__all__ = ["Findings", "Room", "Software", "examine", "read_room", "read_software"]


@dataclass(frozen=True, slots=True)
class Room:
    """Free bytes; None where that is not known."""

    here: int | None = None  # in the working directory
    temporary: int | None = None  # where temporary files go
    memory: int | None = None


def read_room(root: Path = Path("/")) -> Room:
    """The room that there is now, with the kernel's files read under `root`."""
    return Room(_free("."), _free(_temporary()), available_memory(root))


def _free(folder: str | None) -> int | None:
    try:
        return shutil.disk_usage(folder).free if folder else None
    except OSError:  # a share that is away
        return None


def _temporary() -> str | None:
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:  # none that can be written
        return None


_PACKAGES = {"numpy": "numpy", "pillow": "Pillow", "click": "click"}


@dataclass(frozen=True, slots=True)
class Software:
    """Versions; None for what is not installed, or does not tell."""

    spot_edge: str = __version__
    python: str = platform.python_version()
    packages: dict[str, str | None] = field(default_factory=dict)
    interpreters: dict[str, str | None] = field(default_factory=dict)
    used: str | None = None
    error: InterpreterError | None = None


def read_software() -> Software:
    """What is installed in this environment, and which interpreter of it is used."""
    interpreters = {name: _version(name) or _owner(RUNTIMES[name][1]) for name in installed_runtimes()}
    used, error = None, None
    try:
        used = find_runtime()
    except InterpreterError as none:
        error = none
    packages = {shown: _version(name) for name, shown in _PACKAGES.items()}
    return Software(packages=packages, interpreters=interpreters, used=used, error=error)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _owner(module: str) -> str | None:
    """The version of whatever brought `module`: tensorflow-cpu and the like have names of their own."""
    names = metadata.packages_distributions().get(module)
    return _version(names[0]) if names else None


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
