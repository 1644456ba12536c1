"""Run the commands of docs/how-to/install.md in emulated systems, as they stand there: `make check TARGET=arm ARGS=guide`.

Each section gets a root of its own. `sudo apt install` is done from outside, by unpacking those packages; packages that
Debian lacks are named. Everything else is run by a shell inside, in a copy of the device package and the examples, with
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
# heading → suites and architectures in which its commands are run
SECTIONS = {
    "64-bit Raspberry Pi OS, bookworm and trixie": ("bookworm-arm64", "trixie-arm64"),
    "With the Pi's own camera": ("bookworm-arm64",),
    "32-bit Raspberry Pi OS bookworm": ("bookworm-armhf",),
}
# what any Raspberry Pi OS has
BASE = ("python3", "libstdc++6", "libatomic1", "busybox-static", "util-linux")
ON_A_PI = {"python3-picamera2": ("python3-numpy", "python3-pil")}  # lacking in Debian; these of its needs are there


def commands(heading: str) -> list[str]:
    """The indented lines below a heading of the guide."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert section, heading
    found = [line.strip() for line in section[1].splitlines() if line.startswith("    ")]
    assert len(found) > 3, found
    return found


def run_section(heading: str, system: str) -> str:
    """Run a section's commands in a new root; what they printed. Raises RuntimeError where one fails."""
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
    if not system.startswith("bookworm"):  # whose successors take for granted that /bin and /lib are links
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
    told = {
        "binary": kind,
        "emulator": str(WORK / "tools" / "usr" / "bin" / f"qemu-{kind}-static"),
        "network": "1",
        "library_path": DEBIAN_BLAS,
    }
    told |= {
        "core": "cortex-a7" if kind == "arm" else "cortex-a72",
        "board": str(WORK / "boards" / ("pi2" if kind == "arm" else "pi4")),
    }
    command = [str(HERE / "inside.sh"), str(root), "/bin/sh", "/home/pi/guide.sh"]
    done = subprocess.run(
        command, env=os.environ | told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    said = f"-- {heading}, in {system}\n" + "".join(f"!! NOT RUN: {name} is not in Debian\n" for name in missing)
    if done.returncode:
        raise RuntimeError(said + done.stdout)
    return said + done.stdout


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


def run_guide() -> str:
    """Run every section; what was printed."""
    return "\n".join(run_section(heading, system) for heading, systems in SECTIONS.items() for system in systems)
