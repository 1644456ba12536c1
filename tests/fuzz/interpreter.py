"""Run deliberately damaged models with correct digests, and count how often the interpreter kills the process.

    tests/fuzz/interpreter.py [--count 1000] [--seed 0]

Each file is the embedded model with 1 to 4 changed bytes in its tables: operators, their tensors, shapes and offsets.
spot-edge's own checks reject some; each of the others is loaded and run in a subprocess.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
from collections import Counter

import numpy as np
from fuzzed.model import redigested

from spot_edge.errors import ModelError
from spot_edge.model.file import ModelFile, read_model, verify
from spot_edge.model.interpreter import Interpreter

SECONDS, MEMORY = 20, 4 << 30
LOADED_AND_RUN, REFUSED = 0, 3


def outcome(model: ModelFile) -> str:
    """Load `model` and run it once in a subprocess; return how that ended."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(6 * SECONDS)  # for a process that waits without using the CPU
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        try:
            Interpreter(model, threads=1).invoke(np.zeros((1, *[model.spec.image.size] * 2, 3), np.uint8))
        except Exception:
            os._exit(REFUSED)
        os._exit(LOADED_AND_RUN)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code in (LOADED_AND_RUN, REFUSED):
        return "refused by the interpreter" if code else "loaded and run"
    if code in (-signal.SIGXCPU, -signal.SIGKILL, -signal.SIGALRM):
        return f"took more than {SECONDS} s"
    return f"ended by {signal.Signals(-code).name}"


def main() -> int:
    """Damage, seal, run, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    whole = read_model()
    flatbuffer = whole.content.index(b"PK\3\4")  # where the zip begins
    tables = _tables(whole.content[:flatbuffer])
    draws, counts = np.random.default_rng(options.seed), Counter[str]()
    for number in range(options.count):
        damaged = bytearray(whole.content)
        for at in draws.choice(tables, 1 + number % 4).tolist():
            damaged[at] = int(draws.integers(256))
        try:
            model = verify(redigested(bytes(damaged)), "damaged")
        except ModelError:
            counts["refused by our own checks"] += 1
        else:
            counts[outcome(model)] += 1
    for what, count in counts.most_common():
        print(f"{count:5} of {options.count} {what}")
    return 0


def _tables(flatbuffer: bytes) -> list[int]:
    """The positions without weights: there most four-byte words hold a small number, as offsets do."""
    words = np.frombuffer(flatbuffer[: len(flatbuffer) // 4 * 4], "<u4")
    small = np.convolve(words < 65536, np.ones(16), "same") > 12
    return [4 * int(word) + byte for word in np.flatnonzero(small) for byte in range(4)]


if __name__ == "__main__":
    sys.exit(main())
