"""Which Python and which packages there are, by what pip wrote down: nothing is imported that might be broken."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from importlib import metadata

from spot_edge import __version__
from spot_edge.errors import InterpreterError
from spot_edge.interpreter import RUNTIMES, find_runtime, installed_runtimes

__all__ = ["Software", "read_software"]

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
