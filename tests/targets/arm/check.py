"""`make check TARGET=arm`: run the device package's tests on emulated ARM systems, and count its instructions there.

check.py                           all steps
check.py NAME …                    only these steps
check.py quick                     a few steps that take minutes
check.py run SYSTEM ARGUMENT…      Python in one of the systems, for example: run pi4-litert -m spot_edge.cli info
check.py networks OUT.json FILE…   count the instructions of other model files' networks
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from guide import run_guide
from instructions import check_counts
from networks import count_networks
from systems import HERE, SYSTEMS

TESTS = Path("/opt/check/tests/edge_runtime")
INFERENCE = ("test_interpreter.py", "test_classifier.py", "test_golden_answers.py")
SLOW = ("doctor", "kiosk")  # these start Python many times
OTHERS = (".", *(f"--ignore={TESTS / name}" for name in SLOW))
CANNOT_RUN = 75  # the exit code of unpack.sh if this machine cannot run these checks

_WHERE_AM_I = """
import platform, sys, spot_edge
from spot_edge.model.interpreter import find_runtime
print(platform.machine(), "%d.%d" % sys.version_info[:2], find_runtime(), spot_edge.__file__)
"""


def check(name: str, *files: str) -> str:
    """Run a system's tests, all or those in `files`, and return pytest's last line. A failure raises RuntimeError."""
    system = SYSTEMS[name]
    found = system.run("-c", _WHERE_AM_I, capture_output=True)
    expected = f"{system.machine} {system.python} {system.runtime} /opt/spot/spot_edge/__init__.py"
    if found.stdout.strip() != expected:
        raise RuntimeError(f"expected the system {expected}, found {found.stdout}{found.stderr}")
    options = (
        "-q",
        "--color=no",
        "-p",
        "no:cacheprovider",
        "-c",
        "/opt/check/pyproject.toml",
        "--rootdir",
        "/opt/check",
    )
    paths = [file if file.startswith("-") else TESTS / file for file in files or (".",)]
    done = system.run("-m", "pytest", *options, *paths, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(done.stdout)
    return f"{expected.rpartition(' ')[0]}: {done.stdout.splitlines()[-1]}"


# The longest first: as many run at once as there are processors.
STEPS: dict[str, Callable[[], str]] = {
    "pi4-litert-slow": partial(check, "pi4-litert", *SLOW),
    "pi4-litert": partial(check, "pi4-litert", *OTHERS),
    "32-bit": partial(check, "32-bit", *OTHERS),
    "pi4-tflite": partial(check, "pi4-tflite", *OTHERS),
    "counts": check_counts,
    "trixie": partial(check, "trixie"),
    "forky": partial(check, "forky"),
    **{name: partial(check, name, *INFERENCE) for name in ("pi3-litert", "pi5-litert", "pi3-tflite", "pi5-tflite")},
}
ON_REQUEST: dict[str, Callable[[], str]] = {
    "guide": run_guide,  # takes minutes and needs the package index
    **{f"{name}-slow": partial(check, name, *SLOW) for name in ("pi4-tflite", "32-bit")},
    **{f"{name}-inference": partial(check, name, *INFERENCE) for name in ("pi4-litert", "pi4-tflite", "32-bit")},
}
QUICK = ("counts", "pi3-litert", "pi5-litert", *(name for name in ON_REQUEST if name.endswith("-inference")))


def step(name: str) -> bool:
    """Run a step, print its result, and return whether it passed."""
    start = time.monotonic()
    try:
        result, passed = (STEPS | ON_REQUEST)[name](), True
    except RuntimeError as error:
        result, passed = str(error), False
    heading = f"{'==' if passed else '!! FAILED:'} {name}, {time.monotonic() - start:.0f} s"
    print(f"{heading}\n{result.rstrip()}", flush=True)
    return passed


def networks(arguments: list[str]) -> int:
    """Count the instructions of other model files' networks and print the table."""
    try:
        print(count_networks(Path(arguments[0]), [Path(argument) for argument in arguments[1:]]))
    except (RuntimeError, OSError) as error:
        print(f"make check TARGET=arm: {error}", file=sys.stderr)
        return 2
    return 0


def main() -> int:
    start = time.monotonic()
    arguments = sys.argv[1:]
    verb = arguments[0] if arguments[:1] in (["run"], ["networks"], ["quick"]) else ""
    known = SYSTEMS if verb == "run" else STEPS | ON_REQUEST
    for name in arguments[1:2] if verb == "run" else [] if verb else arguments:
        if name not in known:
            print(f"make check TARGET=arm: no {name!r}. Choose from {', '.join(known)}.", file=sys.stderr)
            return 2
    if verb == "networks" and len(arguments) < 3:
        print(
            'make check TARGET=arm: name the file to write and the model files: ARGS="networks OUT.json FILE …"',
            file=sys.stderr,
        )
        return 2
    unpacked = subprocess.run([HERE / "unpack.sh"], check=False, stdout=subprocess.PIPE, text=True)
    if unpacked.returncode == CANNOT_RUN:
        print(f"!! NOT RUN: make check TARGET=arm: {unpacked.stdout.strip()}")
        return 0
    if unpacked.returncode:
        print(unpacked.stdout)
        return 1
    if verb == "networks":
        return networks(arguments[1:])
    if verb == "run":
        return SYSTEMS[arguments[1]].run(*arguments[2:]).returncode
    print(f"== unpacked, {time.monotonic() - start:.0f} s", flush=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        passed = list(pool.map(step, QUICK if verb == "quick" else arguments or STEPS))
    print(f"== {sum(passed)} of {len(passed)} steps passed, {time.monotonic() - start:.0f} s")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
