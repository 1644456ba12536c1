"""Run a file in tflite-micro's own interpreter, and find the smallest arena that it runs in. Imports little.

Call this in a subprocess (`spot_edge.isolated`): the interpreter prints memory figures from C, and a file that it
cannot run may crash it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spot_edge.errors import first_line

__all__ = ["ALIGNMENT", "MicroTrial", "try_in_micro"]

ALIGNMENT = 16  # bytes, of everything in an arena
_MAX_ARENA = 64 << 20  # bytes: more than any microcontroller has


@dataclass(frozen=True, slots=True)
class MicroTrial:
    """The result: `note` says why the file does not run. Otherwise the arena in bytes, and the outputs."""

    note: str = ""
    broken: bool = False  # tflite-micro itself cannot be imported
    arena: int = 0  # the smallest that it runs in, on this machine
    head: int = 0  # the part for activations, which share memory
    tail: int = 0  # the part that stays: multipliers of channels, tensors, operators
    outputs: tuple[tuple[NDArray[np.float32], ...], ...] = ()  # for each image, in the file's order

    def as_dict(self) -> dict[str, int]:
        """Return the sizes as JSON."""
        sizes = asdict(self)
        return {f"{name}_bytes": sizes[name] for name in ("arena", "head", "tail")}


def try_in_micro(content: bytes, images: Sequence[NDArray[np.uint8]] = ()) -> MicroTrial:
    """Run the file on zeros in the smallest arena, then on `images`. The first input is the image."""
    try:
        from tflite_micro import runtime
    except ImportError as error:
        return MicroTrial(first_line(error), broken=True)

    def start(arena: int) -> Any:
        return runtime.Interpreter.from_bytes(content, arena_size=arena)

    def run(arena: int) -> Any:
        interpreter = start(arena)
        details = interpreter.get_input_details(0)
        interpreter.set_input(np.zeros(details["shape"], details["dtype"]), 0)
        interpreter.invoke()
        return interpreter

    stage = "allocating its tensors"
    try:
        with _captured_stderr() as lines:
            start(_MAX_ARENA)
            stage = "running it on zeros"
            run(_MAX_ARENA)
    except Exception as error:  # RuntimeError, or struct.error if it is not a flatbuffer
        return MicroTrial(f"{stage}: {lines[0] if lines else first_line(error)}")
    with _captured_stderr() as lines:
        arena = _smallest(run, _smallest(start, 0))
        interpreter = run(arena)
        interpreter.print_allocations()
    parts = {part: int(size) for part, size in re.findall(r"Arena allocation (head|tail) (\d+)", "\n".join(lines))}
    return MicroTrial("", False, arena, **parts, outputs=tuple(_outputs(interpreter, images)))


def _smallest(works: Callable[[int], Any], least: int) -> int:
    """Return the smallest arena of at least `least` bytes in which it `works`, to the nearest sixteen bytes."""
    low, high = least // ALIGNMENT, _MAX_ARENA // ALIGNMENT
    if least and _holds(works, least):  # usually a file that starts in an arena also runs in it
        return least
    while high - low > 1:
        middle = (low + high) // 2
        if _holds(works, middle * ALIGNMENT):
            high = middle
        else:
            low = middle
    return high * ALIGNMENT


def _holds(works: Callable[[int], Any], arena: int) -> bool:
    try:
        works(arena)
    except RuntimeError:
        return False
    return True


def _outputs(interpreter: Any, images: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[NDArray[np.float32], ...]]:
    for image in images:
        interpreter.set_input(image[np.newaxis], 0)
        interpreter.invoke()
        yield tuple(np.array(interpreter.get_output(place)[0]) for place in range(3))


@contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """Capture what C code writes to stderr; the list is filled at the end."""
    lines: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
