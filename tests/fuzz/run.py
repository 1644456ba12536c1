"""Fuzz the device package's readers with atheris: `make check TARGET=fuzz`, or in its environment

    tests/fuzz/run.py [TARGET …] [--seconds 60]     # seconds for each target, 20 by default; two targets at a time

An input that crashes, takes more than 5 s or more than 1 GB ends its target and is saved in build/fuzz/found: turn it
into a test. Inputs that reach new code are saved in build/fuzz/corpus, where the next run starts from them.
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "fuzz"
TARGETS = ("image", "model", "spec", "embedding", "frame", "driver")
MOST_SECONDS, MOST_MB = 5, 1024  # limits of one input and of the process


def fuzz(name: str, options: list[str]) -> None:
    """Fuzz one target in this process, which then ends."""
    import atheris

    # excluded: code that compares whole arrays, which atheris never frees
    with atheris.instrument_imports(include=["spot_edge", "PIL"], exclude=["spot_edge.camera.focus"]):
        target = importlib.import_module(f"fuzzed.{name}")
        for seed in (HERE / "corpus" / name).iterdir():  # loads the modules that are imported on first use
            target.run(seed.read_bytes())
    atheris.Setup([sys.argv[0], *options], target.run)
    atheris.Fuzz()


def one_target(name: str, seconds: int) -> bool:
    """Fuzz one target in a subprocess and print its statistics; return whether nothing was found."""
    found, grown = BUILD / "found" / name, BUILD / "corpus" / name
    for folder in (found, grown):
        folder.mkdir(parents=True, exist_ok=True)
    target = importlib.import_module(f"fuzzed.{name}")
    words = BUILD / f"{name}.dict"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.WORDS))
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={MOST_SECONDS}",
        f"-rss_limit_mb={MOST_MB}",
        f"-max_len={target.LONGEST}",
        f"-dict={words}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        "-use_value_profile=1",
    ]
    command = [sys.executable, __file__, "--in-this-process", name, *options, str(grown), str(HERE / "corpus" / name)]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    (BUILD / f"{name}.log").write_text(result.stdout + result.stderr)
    log = result.stderr
    stats = dict(re.findall(r"^stat::(\w+):\s+(\d+)", log, re.MULTILINE))
    covered = re.findall(r" cov: (\d+) ft: (\d+)", log)
    first, last = (covered[0], covered[-1]) if covered else (("?", "?"), ("?", "?"))
    print(
        f"{name:<10} {stats.get('number_of_executed_units', '?'):>9} inputs, coverage {first[0]} -> {last[0]} "
        f"(features {first[1]} -> {last[1]}), at most {stats.get('peak_rss_mb', '?')} MB, "
        f"slowest {stats.get('slowest_unit_time_sec', '?')} s",
        flush=True,
    )
    if result.returncode:
        tail = "\n".join(log.splitlines()[-40:])
        print(f"{name}: ended with {result.returncode}; the input is in {found}:\n{tail}", file=sys.stderr, flush=True)
    return result.returncode == 0


def main() -> int:
    """Fuzz the targets that are named on the command line, or all."""
    if sys.argv[1:2] == ["--in-this-process"]:
        fuzz(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    with ThreadPoolExecutor(2) as pool:
        passed = list(pool.map(lambda name: one_target(name, options.seconds), options.targets or TARGETS))
    print(f"{sum(passed)} passed, {len(passed) - sum(passed)} failed")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
