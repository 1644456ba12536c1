"""Count a classification's instructions on the cores of a Raspberry Pi and compare them with a budget.

Emulation counts the instructions that a process retires. It models no caches, memory or clock, so a count is not a
latency. But it is the same on every machine, and it shows a change that costs two percent more. The budget is
instructions.json; `instructions.py --renew` replaces it with the new counts. `networks.py` counts other model files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from systems import HERE, SYSTEMS, WORK

BUDGET = HERE / "instructions.json"
LIMIT = 1.02  # the check fails above this multiple of the budget
START_LIMIT = 1.05  # the start varies by 1.5 % with the folder that holds the systems
OVERHEAD = 1.05  # limit of `classify` without inference and checks, in multiples of decoding and resizing
CHECKS = 0.10  # limit of the image quality checks, as a share of `classify`
IMAGE = HERE.parents[2] / "examples" / "drawn-melanoma-001.jpg"  # 600x450
COUNTED = ("pi3-litert", "pi4-litert", "pi5-litert", "pi4-tflite")
RENEW = "if that is intended, run tests/targets/arm/instructions.py --renew"
PARTS = ("invoke", "decode-resize", "prepare", "classify", "checks", "start")

_VERSIONS = """
import json
from importlib.metadata import version
import spot_edge, spot_edge.model.interpreter as i
names = ["numpy", "pillow", "click", i.find_runtime()]
print(json.dumps({"model": spot_edge.read_model().id[:16], **{name: version(name) for name in names}}))
"""


def run_counted(name: str, what: str, path: Path = IMAGE) -> list[tuple[str, int]]:
    """Run workloads.py in a system. Returns its marks in order with the instructions up to each; the last is `end`."""
    system, out = SYSTEMS[name], WORK / f"counted-{name}-{what}"
    out.unlink(missing_ok=True)
    root = WORK / system.root
    # Only the dynamically linked emulator has plugins. It cannot run in another root, so -L names the root instead.
    libraries = WORK / "tools" / "usr" / "lib" / "x86_64-linux-gnu"
    packages = [root / path.lstrip("/") for path in system.environment()["python_path"].split(":")]
    inside = {"LD_LIBRARY_PATH": "", "PYTHONHASHSEED": "0", "PYTHONPATH": ":".join(map(str, packages))}
    emulator = [WORK / "tools" / "usr" / "bin" / "qemu-aarch64", "-cpu", system.core, "-L", root]
    emulator += ["-plugin", f"{WORK / 'count.so'},out={out}"]
    for key, value in inside.items():
        emulator += ["-E", f"{key}={value}"]
    command = [*emulator, root / "usr" / "bin" / f"python{system.python}", HERE / "workloads.py", out, what, path]
    own_proc = 'mount --bind "$1/proc" "$2/proc" && mount --bind "$1/sys" "$2/sys" && shift 2 && exec "$@"'
    board = WORK / "boards" / str(system.board)
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", own_proc, "sh", board, root]
    done = subprocess.run(
        [*map(str, [*namespace, *command])],
        env=os.environ | {"LD_LIBRARY_PATH": str(libraries)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} {what} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    marked = [line.rpartition(" ") for line in out.read_text().splitlines()]
    return [(label or "end", int(number)) for label, _, number in marked]


def count_sections(name: str, what: str = "sections", path: Path = IMAGE) -> dict[str, int]:
    """The instructions of each section in one system."""
    at = dict(run_counted(name, what, path))
    return {part: at[part] - at[f"before-{part}"] for part in at if f"before-{part}" in at}


def count_start(name: str) -> dict[str, int]:
    """The instructions of `spot-edge classify` from start to exit, by purpose, the largest share first."""
    shares: dict[str, int] = {}
    last = 0
    for label, number in run_counted(name, "start"):
        shares[label] = shares.get(label, 0) + number - last
        last = number
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def versions_in(name: str) -> dict[str, str]:
    """The embedded model's id and the versions of the packages in one system."""
    return dict(json.loads(SYSTEMS[name].run("-c", _VERSIONS, capture_output=True).stdout))


def count_all() -> dict[str, Any]:
    """All counts for every system, with the versions of the packages."""
    counts = {}
    for name in COUNTED:
        shares, sections = count_start(name), count_sections(name)
        counts[name] = {
            "versions": versions_in(name),
            **sections,
            "checks": sections["classify"] - sections["unchecked"],
            "start": sum(shares.values()),
            "shares": shares,
        }
    return counts


def compare(counts: dict[str, Any], budget: dict[str, Any]) -> list[str]:
    """One line for each count that breaks a limit or the budget."""
    wrong = []
    for name, found in counts.items():
        overhead, bare = found["unchecked"] - found["invoke"], found["decode-resize"]
        if overhead > OVERHEAD * bare:
            wrong.append(
                f"{name}: outside the interpreter classify takes {overhead / bare:.3f} times decoding and resizing"
            )
        if found["checks"] > CHECKS * found["classify"]:
            wrong.append(f"{name}: the checks take {found['checks'] / found['classify']:.3f} of classify")
        kept = budget.get(name, {})
        if kept.get("versions") != found["versions"]:
            wrong.append(f"{name}: the budget is for {kept.get('versions')}, not {found['versions']}: {RENEW}")
            continue
        for part in PARTS:
            ratio = found[part] / kept[part]
            limit = START_LIMIT if part == "start" else LIMIT
            if ratio > limit:
                wrong.append(f"{name}: {part} takes {100 * (ratio - 1):.1f} % more instructions than its budget")
            elif ratio < 2 - limit:
                wrong.append(f"{name}: {part} takes {100 * (1 - ratio):.1f} % fewer than its budget: {RENEW}")
    return wrong


def table(counts: dict[str, Any]) -> str:
    """The counts in millions, as a table of docs/reports/arm.md."""
    lines = [
        "| million instructions | " + " | ".join(PARTS) + " | rest of classify / decode-resize | checks / classify |",
        "|---|" + "---|" * (len(PARTS) + 2),
    ]
    for name, found in counts.items():
        overhead = (found["unchecked"] - found["invoke"]) / found["decode-resize"]
        cells = [f"{found[part] / 1e6:.1f}" for part in PARTS]
        lines.append(
            f"| {name} | " + " | ".join(cells) + f" | {overhead:.3f} | {found['checks'] / found['classify']:.3f} |"
        )
    shares = counts["pi4-litert"]["shares"]
    whole = sum(shares.values())
    lines += ["", "| `spot-edge classify` from start to exit, pi4-litert | million | share |", "|---|---|---|"]
    lines += [f"| {label} | {number / 1e6:.1f} | {100 * number / whole:.0f} % |" for label, number in shares.items()]
    return "\n".join(lines)


def check_counts(renew: bool = False) -> str:
    """Count everything and return the table. Raises RuntimeError if a count breaks a limit or the budget."""
    counts = count_all()
    if renew:
        kept = {name: {key: found[key] for key in ("versions", *PARTS)} for name, found in counts.items()}
        BUDGET.write_text(json.dumps(kept, indent=1) + "\n")
    wrong = compare(counts, json.loads(BUDGET.read_text()))
    if wrong:
        raise RuntimeError("\n".join([table(counts), "", *wrong]))
    return table(counts)


if __name__ == "__main__":
    try:
        print(check_counts(renew=sys.argv[1:] == ["--renew"]))
    except RuntimeError as error:
        sys.exit(str(error))
