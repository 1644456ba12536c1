"""How many instructions a classification takes on the cores of a Raspberry Pi, against the budget in instructions.json.

They are those that a process retires under emulation: no caches, no memory, no clock. So they are no latency, but they
come out alike on every machine, and a change that costs two per cent more is seen. `instructions.py --renew` writes
what was counted as the new budget. `networks.py` counts the networks of other model files.
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
MORE = 1.02  # times the budget, from which on the check fails
MORE_OF_START = 1.05  # it varies by 1.5 % with the folder that the systems lie in
OUTSIDE = 1.05  # times decoding and resizing, that `classify` may take outside the interpreter and without its checks
CHECKS = 0.10  # of `classify`, that the checks of capture quality may take
PICTURE = HERE.parents[2] / "examples" / "drawn-melanoma-001.jpg"  # 600x450
COUNTED = ("pi3-litert", "pi4-litert", "pi5-litert", "pi4-tflite")
RENEW = "if that is meant, tests/targets/arm/instructions.py --renew"
PARTS = ("invoke", "decode-resize", "prepare", "classify", "checks", "start")

_VERSIONS = """
import json
from importlib.metadata import version
import spot_edge, spot_edge.model.interpreter as i
names = ["numpy", "pillow", "click", i.find_runtime()]
print(json.dumps({"model": spot_edge.read_model().id[:16], **{name: version(name) for name in names}}))
"""


def run_counted(name: str, what: str, path: Path = PICTURE) -> list[tuple[str, int]]:
    """Run counted.py in a system: what it marked, in order, with the instructions until then; last `end`."""
    system, out = SYSTEMS[name], WORK / f"counted-{name}-{what}"
    out.unlink(missing_ok=True)
    root = WORK / system.root
    # Plugins need the emulator that is not static, which cannot enter another root: it is told where that is instead.
    libraries = WORK / "tools" / "usr" / "lib" / "x86_64-linux-gnu"
    packages = [root / path.lstrip("/") for path in system.environment()["python_path"].split(":")]
    inside = {"LD_LIBRARY_PATH": "", "PYTHONHASHSEED": "0", "PYTHONPATH": ":".join(map(str, packages))}
    emulator = [WORK / "tools" / "usr" / "bin" / "qemu-aarch64", "-cpu", system.core, "-L", root]
    emulator += ["-plugin", f"{WORK / 'count.so'},out={out}"]
    for key, value in inside.items():
        emulator += ["-E", f"{key}={value}"]
    command = [*emulator, root / "usr" / "bin" / f"python{system.python}", HERE / "counted.py", out, what, path]
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
        raise RuntimeError(f"{name} {what} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    marked = [line.rpartition(" ") for line in out.read_text().splitlines()]
    return [(label or "end", int(number)) for label, _, number in marked]


def count_sections(name: str, what: str = "sections", path: Path = PICTURE) -> dict[str, int]:
    """Instructions of each section in one system."""
    at = dict(run_counted(name, what, path))
    return {part: at[part] - at[f"before-{part}"] for part in at if f"before-{part}" in at}


def count_start(name: str) -> dict[str, int]:
    """Instructions of `spot-edge classify` from start to exit by what they were for, the most first."""
    shares: dict[str, int] = {}
    last = 0
    for label, number in run_counted(name, "start"):
        shares[label] = shares.get(label, 0) + number - last
        last = number
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def versions_in(name: str) -> dict[str, str]:
    """What runs in one system: the embedded model's id, and the versions of packages."""
    return dict(json.loads(SYSTEMS[name].run("-c", _VERSIONS, capture_output=True).stdout))


def count_all() -> dict[str, Any]:
    """What is counted, for every system, with the versions of what ran."""
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
    """What is wrong with `counts`: each in a line."""
    wrong = []
    for name, found in counts.items():
        outside, bare = found["unchecked"] - found["invoke"], found["decode-resize"]
        if outside > OUTSIDE * bare:
            wrong.append(
                f"{name}: outside the interpreter classify takes {outside / bare:.3f} of decoding and resizing"
            )
        if found["checks"] > CHECKS * found["classify"]:
            wrong.append(f"{name}: the checks take {found['checks'] / found['classify']:.3f} of classify")
        kept = budget.get(name, {})
        if kept.get("versions") != found["versions"]:
            wrong.append(f"{name}: the budget is of {kept.get('versions')}, this of {found['versions']}: {RENEW}")
            continue
        for part in PARTS:
            ratio = found[part] / kept[part]
            more = MORE_OF_START if part == "start" else MORE
            if ratio > more:
                wrong.append(f"{name}: {part} takes {100 * (ratio - 1):.1f} % more instructions than its budget")
            elif ratio < 2 - more:
                wrong.append(f"{name}: {part} takes {100 * (1 - ratio):.1f} % fewer than its budget: {RENEW}")
    return wrong


def table(counts: dict[str, Any]) -> str:
    """The counts as in docs/reports/arm.md, in millions."""
    lines = [
        "| million instructions | " + " | ".join(PARTS) + " | rest of classify / decode-resize | checks / classify |",
        "|---|" + "---|" * (len(PARTS) + 2),
    ]
    for name, found in counts.items():
        outside = (found["unchecked"] - found["invoke"]) / found["decode-resize"]
        cells = [f"{found[part] / 1e6:.1f}" for part in PARTS]
        lines.append(
            f"| {name} | " + " | ".join(cells) + f" | {outside:.3f} | {found['checks'] / found['classify']:.3f} |"
        )
    shares = counts["pi4-litert"]["shares"]
    whole = sum(shares.values())
    lines += ["", "| `spot-edge classify` from start to exit, pi4-litert | million | share |", "|---|---|---|"]
    lines += [f"| {label} | {number / 1e6:.1f} | {100 * number / whole:.0f} % |" for label, number in shares.items()]
    return "\n".join(lines)


def check_counts(renew: bool = False) -> str:
    """The table of what was counted. Raises RuntimeError where it breaks the budget."""
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
