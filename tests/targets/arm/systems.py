"""The systems that `make check TARGET=arm` runs, most of them under emulation, and how to run Python in one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DEBIAN_BLAS", "HERE", "SYSTEMS", "WORK", "System"]

HERE = Path(__file__).parent
WORK = HERE.parents[2] / "build" / "arm"

# Debian's numpy finds these libraries through links that unpacking does not make.
DEBIAN_BLAS = ":".join(
    f"/usr/lib/{kind}-linux-gnu{abi}/{name}"
    for kind, abi in (("aarch64", ""), ("arm", "eabihf"))
    for name in ("blas", "lapack")
)


@dataclass(frozen=True)
class System:
    """An unpacked root, and what to run in it."""

    root: str
    python: str
    machine: str
    runtime: str  # the TFLite interpreter
    core: str | None = None  # the emulated processor
    board: str | None = None  # the board whose /proc and /sys are shown

    def command(self, *arguments: str | Path) -> list[str]:
        """The command of this machine that runs Python in this system with `arguments`."""
        return [str(HERE / "inside.sh"), str(WORK / self.root), f"/usr/bin/python{self.python}", *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """The environment variables that `inside.sh` reads."""
        settings = {"python_path": f"/opt/spot:/opt/{'litert' if self.runtime == 'ai-edge-litert' else 'tflite'}"}
        if self.core:
            binary = {"aarch64": "aarch64", "armv7l": "arm"}[self.machine]
            emulator = WORK / "tools" / "usr" / "bin" / f"qemu-{binary}-static"
            settings |= {"core": self.core, "binary": binary, "emulator": str(emulator)}
        if self.board:
            settings["board"] = str(WORK / "boards" / self.board)
        if self.root == "armhf":
            settings["library_path"] = DEBIAN_BLAS
        return os.environ | settings

    def run(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run Python in this system."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            **options,
        )


SYSTEMS = {
    "pi4-litert": System("arm64", "3.11", "aarch64", "ai-edge-litert", "cortex-a72", "pi4"),
    "pi4-tflite": System("arm64", "3.11", "aarch64", "tflite-runtime", "cortex-a72", "pi4"),
    "pi3-litert": System("arm64", "3.11", "aarch64", "ai-edge-litert", "cortex-a53", "pi3"),
    "pi3-tflite": System("arm64", "3.11", "aarch64", "tflite-runtime", "cortex-a53", "pi3"),
    "pi5-litert": System("arm64", "3.11", "aarch64", "ai-edge-litert", "cortex-a76", "pi5"),
    "pi5-tflite": System("arm64", "3.11", "aarch64", "tflite-runtime", "cortex-a76", "pi5"),
    "32-bit": System("armhf", "3.11", "armv7l", "tflite-runtime", "cortex-a7", "pi2"),
    "trixie": System("trixie", "3.13", "x86_64", "ai-edge-litert"),
    "forky": System("forky", "3.14", "x86_64", "ai-edge-litert"),
}
