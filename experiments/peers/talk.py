"""The adapter's side of the protocol with the driver: one line per request, one line of JSON per reply."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Peer", "Task", "answer", "read_task", "serve"]


@dataclass(frozen=True, slots=True)
class Task:
    """What the driver wants to run, from the command line."""

    network: str  # path
    picture: str  # path
    tensors: str  # path of uint8[N,S,S,3], the first of which is the picture's
    side: int  # S
    labels: list[str]
    temperature: float
    threads: int
    runtime: str | None  # which one, where an adapter has several


@dataclass(frozen=True, slots=True)
class Peer:
    """A loaded network."""

    version: str
    prepare: Callable[[NDArray[np.uint8]], Any]  # uint8[1,S,S,3] → what `run` takes; not timed
    run: Callable[[Any], Any]  # → scores, in the order of the labels
    classify: Callable[[str], list[tuple[str, float]]]  # a file's path → labels and scores, the best first


def read_task() -> Task:
    """The task on the command line."""
    return Task(**json.loads(sys.argv[1]))


def serve(task: Task, peer: Peer) -> None:
    """Send the scores of all tensors, then time calls as the driver asks."""
    inputs = [peer.prepare(tensor[np.newaxis]) for tensor in np.load(task.tensors)]
    scores = [[float(score) for score in peer.run(prepared)] for prepared in inputs]
    hello = {"version": peer.version, "scores": scores, "first": peer.classify(task.picture)[0][0]}
    timed = {"bare": lambda: peer.run(inputs[0]), "file": lambda: peer.classify(task.picture)}
    answer(hello, {name: _times(action) for name, action in timed.items()})


def answer(hello: dict[str, Any], measures: Mapping[str, Callable[[int], list[int]]]) -> None:
    """Say `hello`, then answer each line `NAME COUNT` with the nanoseconds of so many calls, until there are no more.

    What libraries print in between goes to stderr.
    """
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        out.write(json.dumps(hello | {"measures": list(measures)}) + "\n")
        out.flush()
        for line in sys.stdin:
            name, count = line.split()
            out.write(json.dumps(measures[name](int(count))) + "\n")
            out.flush()


def _times(action: Callable[[], Any]) -> Callable[[int], list[int]]:
    return lambda count: [_time(action) for _ in range(count)]


def _time(action: Callable[[], Any]) -> int:
    start = time.perf_counter_ns()
    action()
    return time.perf_counter_ns() - start
