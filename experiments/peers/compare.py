"""Run all peers in turns: check that they agree, time them, compare the times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.peers.children import AdapterError, Child, NotInstalledError
from experiments.peers.rows import EXPORTER, FLOAT, Row
from spot_bench.stats.intervals import Estimate, bootstrap, ratio_of_medians
from spot_edge.errors import InterpreterError
from spot_edge.model.file import ModelFile

__all__ = ["CALLS", "FEWEST", "TOLERANCE", "Found", "against", "compare", "median"]

TOLERANCE = 1e-3  # of float32's scores
FEWEST = 0.8  # share of images whose top class must match float32's
CALLS = 3  # counted per turn, after one warm-up call: other peers have just used the caches
_WARMUP = 3  # rounds


@dataclass(slots=True)
class Found:
    """The result of a row: milliseconds by measure and round, or the reason why there are none."""

    row: Row
    version: str = ""
    agreement: str = ""
    times: dict[str, list[list[float]]] = field(default_factory=dict)
    missing: str = ""  # the missing environment
    error: str = ""
    child: Child | None = None

    def samples(self, measure: str) -> NDArray[np.float64]:
        """Milliseconds as [round, call]; empty if the row failed."""
        return np.array([] if self.missing or self.error else self.times.get(measure, []))

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Stop the adapter and record the error if anything fails."""
        try:
            yield
        except AdapterError as error:
            if isinstance(error, NotInstalledError):
                self.missing = error.environment or self.row.environment
            else:
                self.error = str(error)
            self.end()

    def end(self) -> None:
        """End the adapter's process."""
        if self.child is not None:
            self.child.end()
            self.child = None


def compare(
    rows: Sequence[Row],
    folder: Path,
    model: ModelFile,
    *,
    python: Callable[[str], Path],
    rounds: int,
    threads: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> list[Found]:
    """Start all `rows`, check them against the first float32 row, and time them in turns.

    The networks lie in `folder`, as `peers.networks` leaves them; `python` finds that of an environment. A row that
    fails is noted and left out; InterpreterError where it is the one that the others are checked against.
    """
    entries = [Found(row) for row in rows]
    try:
        for found in entries:
            with found.trying():
                found.child = _start(found.row, folder, model, python(found.row.environment), threads)
        reference = next(found for found in entries if found.row.variant == FLOAT)
        if reference.child is None:
            raise InterpreterError(
                f"{reference.row.peer}: {reference.error or 'not installed'}: nothing to compare with"
            )
        wanted = np.array(reference.child.hello["scores"])
        for found in entries:
            with found.trying():
                _check(found, wanted, [label.label for label in model.spec.labels])
        random = np.random.default_rng(0)
        for number in range(-_WARMUP, rounds):
            for place in random.permutation(len(entries)):
                with entries[place].trying():
                    _take_turn(entries[place], number)
            if number >= 0:
                progress()
    finally:
        for found in entries:
            found.end()
    return entries


def against(found: Found, base: Found, measure: str) -> Estimate | None:
    """The ratio of medians over the rounds that both took part in, with an interval from resampled rounds."""
    own, other = found.samples(measure), base.samples(measure)[:: found.row.every]
    if not (own.size and other.size):
        return None
    return ratio_of_medians(own, other)


def median(found: Found, measure: str) -> Estimate | None:
    """The median in milliseconds, with an interval from resampled rounds."""
    own = found.samples(measure)
    return bootstrap(lambda a: float(np.median(a)), range(len(own)), own) if own.size else None


def _start(row: Row, folder: Path, model: ModelFile, python: Path, threads: int) -> Child:
    network = folder / row.network
    if not network.exists():
        raise NotInstalledError(f"no {network}", EXPORTER)
    task = {
        "network": str(network.resolve()),
        "picture": str((folder / "picture.jpg").resolve()),
        "tensors": str((folder / "tensors.npy").resolve()),
        "side": model.spec.image.size,
        "labels": [label.label for label in model.spec.labels],
        "temperature": model.spec.temperature,
        "threads": threads,
        "runtime": row.runtime,
    }
    return Child(python, f"experiments.peers.adapters.{row.adapter}", task)


def _check(found: Found, wanted: NDArray[np.float64], labels: list[str]) -> None:
    """Raise AdapterError if the scores are not those of the same network."""
    if found.child is None:
        return
    hello: dict[str, Any] = found.child.hello
    found.version = hello["version"]
    if hello["scores"] is None:
        found.agreement = "gives no scores"
        return
    scores = np.array(hello["scores"])
    if scores.shape != wanted.shape or not np.isfinite(scores).all():
        raise AdapterError(f"scores of shape {list(scores.shape)}, or not finite")
    gap, same = float(np.abs(scores - wanted).max()), int((scores.argmax(1) == wanted.argmax(1)).sum())
    found.agreement = f"{same} of {len(wanted)}, within {gap:.2g}"
    if gap > TOLERANCE if found.row.variant == FLOAT else same < FEWEST * len(wanted):
        raise AdapterError(f"not the same network: same top class {found.agreement}")
    if hello["first"] != labels[scores[0].argmax()]:
        raise AdapterError(f"ranks {hello['first']} first from the file, {labels[scores[0].argmax()]} from its tensor")


def _take_turn(found: Found, number: int) -> None:
    if found.child is None or number % found.row.every:
        return
    calls, uncounted = (1, 0) if found.row.every > 1 else (1 + CALLS, 1)
    for measure in found.child.hello["measures"]:
        taken = found.child.ask(measure, calls)[uncounted:]
        if number >= 0:
            found.times.setdefault(measure, []).append(taken)
