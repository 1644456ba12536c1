"""Everything that the doctor examines: machine, software, model, self-test, cameras, sensors and free space.

If one part fails, the others still run. Package versions come from their metadata: a broken package is not imported.
"""

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

__all__ = ["Findings", "FreeSpace", "Software", "examine", "read_free_space", "read_software"]


@dataclass(frozen=True, slots=True)
class FreeSpace:
    """Free bytes, None if unknown."""

    here: int | None = None  # in the working directory
    temporary: int | None = None  # in the folder for temporary files
    memory: int | None = None


def read_free_space(root: Path = Path("/")) -> FreeSpace:
    """Free disk space and memory. The kernel's files are read under `root`."""
    return FreeSpace(_free("."), _free(_temporary()), available_memory(root))


def _free(folder: str | None) -> int | None:
    try:
        return shutil.disk_usage(folder).free if folder else None
    except OSError:  # a network share that is not available
        return None


def _temporary() -> str | None:
    import tempfile

    try:
        return tempfile.gettempdir()
    except OSError:  # there is no writable one
        return None


_PACKAGES = {"numpy": "numpy", "pillow": "Pillow", "click": "click"}


@dataclass(frozen=True, slots=True)
class Software:
    """Versions. None if not installed or unknown."""

    spot_edge: str = __version__
    python: str = platform.python_version()
    packages: dict[str, str | None] = field(default_factory=dict)
    interpreters: dict[str, str | None] = field(default_factory=dict)
    used: str | None = None
    error: InterpreterError | None = None


def read_software() -> Software:
    """The installed packages and interpreters, and which interpreter is used."""
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
    """The version of the package that provides `module`, such as tensorflow-cpu."""
    names = metadata.packages_distributions().get(module)
    return _version(names[0]) if names else None


_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class Findings:
    """The results. A part that could not be examined holds its defaults."""

    machine: Machine = field(default_factory=Machine)
    software: Software = field(default_factory=Software)
    model: ModelFile | ModelError | None = None
    selftest: SelfTest = field(default_factory=SelfTest)
    cameras: Cameras = field(default_factory=Cameras)
    reading: Reading = field(default_factory=Reading)
    zones: dict[str, float] = field(default_factory=dict)
    room: FreeSpace = field(default_factory=FreeSpace)
    failed: tuple[str, ...] = ()  # parts that could not be examined, and why


def examine(
    path: str | None = None, root: Path = Path("/"), kernel: Kernel | None = None, vcgencmd: str = "vcgencmd"
) -> Findings:
    """Examine this machine and the model at `path`. The kernel's files are read under `root`."""
    failed: list[str] = []

    def part(name: str, read: Callable[[], _Part], nothing: _Part) -> _Part:
        try:
            return read()
        except Exception as error:  # a bug or an unknown system: report the other parts
            failed.append(f"{name}: {type(error).__name__}: {error}")
            return nothing

    sensors = Sensors(root, vcgencmd)
    return Findings(
        machine=part("machine", lambda: read_machine(root), Machine()),
        reading=part("sensors", sensors.read, Reading()),  # before the self-test warms it up
        zones=part("temperature", sensors.zones, {}),
        room=part("room", lambda: read_free_space(root), FreeSpace()),
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
