"""A file in tflite-micro's own interpreter: the smallest arena that it starts in, and its answers. Imports little.

Runs in a process of its own (`spot_edge.isolated`): that interpreter prints what it uses from C, and a file
that it cannot run may end it.
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

__all__ = ["ALIGNMENT", "MicroTrial", "try_in_micro"]

ALIGNMENT = 16  # of everything in an arena
_MOST = 64 << 20  # bytes of arena: no microcontroller has as many


@dataclass(frozen=True, slots=True)
class MicroTrial:
    """What became of a file: `note` says why it does not run; else the arena, in bytes, and the answers."""

    note: str = ""
    broken: bool = False  # tflite-micro itself cannot be imported
    arena: int = 0  # the smallest that it starts in, on this machine
    head: int = 0  # of it: activations, which are written over one another
    tail: int = 0  # of it: what stays: each channel's multiplier, tensors, operators
    answers: tuple[tuple[NDArray[np.float32], ...], ...] = ()  # one for each picture, the outputs in the file's order

    def as_dict(self) -> dict[str, int]:
        """The sizes, as JSON."""
        sizes = asdict(self)
        return {f"{name}_bytes": sizes[name] for name in ("arena", "head", "tail")}


def try_in_micro(content: bytes, pictures: Sequence[NDArray[np.uint8]] = ()) -> MicroTrial:
    """Run the file on zeros in the smallest arena, then on `pictures`, in which it is the first input."""
    try:
        from tflite_micro import runtime
    except ImportError as error:
        return MicroTrial(_line(error), broken=True)

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
        with _complaints() as said:
            start(_MOST)
            stage = "running it on zeros"
            run(_MOST)
    except Exception as error:  # RuntimeError, and struct.error for what is no flatbuffer
        return MicroTrial(f"{stage}: {said[0] if said else _line(error)}")
    with _complaints() as said:
        arena = _smallest(run, _smallest(start, 0))
        interpreter = run(arena)
        interpreter.print_allocations()
    parts = {part: int(size) for part, size in re.findall(r"Arena allocation (head|tail) (\d+)", "\n".join(said))}
    return MicroTrial("", False, arena, **parts, answers=tuple(_answers(interpreter, pictures)))


def _smallest(works: Callable[[int], Any], least: int) -> int:
    """The smallest arena from `least` on in which it `works`, to the nearest sixteen bytes."""
    low, high = least // ALIGNMENT, _MOST // ALIGNMENT
    if least and _holds(works, least):  # as a rule: what starts in an arena runs in it
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


def _answers(interpreter: Any, pictures: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[NDArray[np.float32], ...]]:
    for picture in pictures:
        interpreter.set_input(picture[np.newaxis], 0)
        interpreter.invoke()
        yield tuple(np.array(interpreter.get_output(place)[0]) for place in range(3))


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What is written to the standard error from C meanwhile: filled at the end."""
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


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
