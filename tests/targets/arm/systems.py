"""The systems that `make check TARGET=arm` runs under emulation, or beside this one, and how a command is run in one of them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["DEBIAN_BLAS", "HERE", "SYSTEMS", "WORK", "System"]

HERE = Path(__file__).parent
WORK = HERE.parents[2] / "build" / "arm"

# Debian chooses its numpy's libraries by links that unpacking does not make
DEBIAN_BLAS = ":".join(
    f"/usr/lib/{kind}-linux-gnu{abi}/{name}"
    for kind, abi in (("aarch64", ""), ("arm", "eabihf"))
    for name in ("blas", "lapack")
)


@dataclass(frozen=True)
class System:
    """A root that was unpacked, and what is used of it."""

    root: str
    python: str
    machine: str
    runtime: str  # the interpreter whose packages are used
    core: str | None = None  # the processor that is emulated
    board: str | None = None  # whose /proc and /sys are seen

    def command(self, *arguments: str | Path) -> list[str]:
        """Python in this system with `arguments`, as a command of this machine."""
        return [str(HERE / "inside.sh"), str(WORK / self.root), f"/usr/bin/python{self.python}", *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """What `inside.sh` is told by variables."""
        told = {"python_path": f"/opt/spot:/opt/{'litert' if self.runtime == 'ai-edge-litert' else 'tflite'}"}
        if self.core:
            binary = {"aarch64": "aarch64", "armv7l": "arm"}[self.machine]
            emulator = WORK / "tools" / "usr" / "bin" / f"qemu-{binary}-static"
            told |= {"core": self.core, "binary": binary, "emulator": str(emulator)}
        if self.board:
            told["board"] = str(WORK / "boards" / self.board)
        if self.root == "armhf":
            told["library_path"] = DEBIAN_BLAS
        return os.environ | told

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
