"""Run the commands of docs/how-to/install.md in emulated systems: `make check TARGET=arm ARGS=guide`.

Each section gets its own root. For `sudo apt install` the packages are unpacked from outside, and packages that are not
in Debian are reported. A shell inside runs every other command, in a copy of the device package and the examples, with
this machine's network and package index.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from systems import DEBIAN_BLAS, HERE, WORK

REPOSITORY = HERE.parents[2]
GUIDE = REPOSITORY / "docs" / "how-to" / "install.md"
# Heading: the suites and architectures in which its commands run.
SECTIONS = {
    "64-bit Raspberry Pi OS, bookworm and trixie": ("bookworm-arm64", "trixie-arm64"),
    "With the Pi's own camera": ("bookworm-arm64",),
    "32-bit Raspberry Pi OS bookworm": ("bookworm-armhf",),
}
# What every Raspberry Pi OS has.
BASE = ("python3", "libstdc++6", "libatomic1", "busybox-static", "util-linux")
ON_A_PI = {"python3-picamera2": ("python3-numpy", "python3-pil")}  # not in Debian; these of its dependencies are


def commands(heading: str) -> list[str]:
    """The indented lines below a heading of the page."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert section, heading
    found = [line.strip() for line in section[1].splitlines() if line.startswith("    ")]
    assert len(found) > 3, found
    return found


def run_section(heading: str, system: str) -> str:
    """Run a section's commands in a new root and return their output. A failure raises RuntimeError."""
    root = WORK / "guide" / f"{system}-{list(SECTIONS).index(heading)}"
    shutil.rmtree(root, ignore_errors=True)
    script, packages, missing = ["set -ex", "cd ~/spot-edge"], list(BASE), []
    for command in commands(heading):
        if command.startswith("sudo apt install "):
            for package in command.split()[3:]:
                missing += [package] if package in ON_A_PI else []
                packages += ON_A_PI.get(package, [package])
        else:
            script.append(command)
    if not system.startswith("bookworm"):  # packages of later suites expect that /bin and /lib are links
        for folder in ("bin", "sbin", "lib"):
            (root / "usr" / folder).mkdir(parents=True)
            (root / folder).symlink_to(f"usr/{folder}")
    unpack = ["bash", "-c", 'set -eu; work=$1; . "$2"; unpack "${@:3}"', "bash", WORK, HERE.parent / "debian.sh"]
    _check(
        subprocess.run([*map(str, unpack), system, str(root), *packages], capture_output=True, text=True, check=False)
    )
    home = root / "home" / "pi"
    clone = home / "spot-edge"
    clone.mkdir(parents=True)
    for folder in ("edge_runtime", "examples"):
        shutil.copytree(REPOSITORY / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "bin" / "sh").symlink_to("/bin/busybox")
    (home / "guide.sh").write_text("\n".join(script) + "\n")
    kind = "arm" if system.endswith("armhf") else "aarch64"
    settings = {
        "binary": kind,
        "emulator": str(WORK / "tools" / "usr" / "bin" / f"qemu-{kind}-static"),
        "network": "1",
        "library_path": DEBIAN_BLAS,
    }
    settings |= {
        "core": "cortex-a7" if kind == "arm" else "cortex-a72",
        "board": str(WORK / "boards" / ("pi2" if kind == "arm" else "pi4")),
    }
    command = [str(HERE / "inside.sh"), str(root), "/bin/sh", "/home/pi/guide.sh"]
    done = subprocess.run(
        command, env=os.environ | settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    output = f"-- {heading}, in {system}\n" + "".join(f"!! NOT RUN: {name} is not in Debian\n" for name in missing)
    if done.returncode:
        raise RuntimeError(output + done.stdout)
    return output + done.stdout


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def run_guide() -> str:
    """Run every section and return the output."""
    return "\n".join(run_section(heading, system) for heading, systems in SECTIONS.items() for system in systems)
