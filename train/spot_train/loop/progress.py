"""What a training says while it goes on, and how it is asked to stop."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from spot_train.loop.checkpoint import Epoch

__all__ = ["Progress", "StopRequest", "stop_on_signals"]


class Progress:
    """One line an epoch, and between them the pace and the time left: on a terminal at once, in a log now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._live = sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._live else 60)

    def step(self, phase: str, epoch: int, epochs: int, done: float, pace: float, left: float) -> None:
        """`done` is a share of the epoch, `pace` images a second, `left` the seconds until the phase ends."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.5 if self._live else 60)
        line = f"{phase:>4} {epoch:3}/{epochs}  {done:4.0%}  {pace:.0f} images/s  {_duration(left)} left"
        if self._live:
            _overwrite(line)
        else:
            self._say(line)

    def epoch(self, done: Epoch) -> None:
        """An epoch has ended."""
        if self._live:
            _overwrite("")
        line = f"{done.phase:>4} {done.epoch:3}/{done.epochs}  {done.size} px  loss {done.loss:.4f}"
        line += f"  accuracy {done.accuracy:.3f}"
        if done.val_loss is not None:
            line += f"  validation: loss {done.val_loss:.4f}, balanced accuracy {done.val_balanced_accuracy:.3f}"
        self._say(f"{line}  ({done.images_per_second:.0f} images/s, {_duration(done.seconds)})")


class StopRequest:
    """Raised from a signal handler, looked at between two steps."""

    raised = False


@contextmanager
def stop_on_signals(stop: StopRequest, say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask for a stop; a second one does not wait for it."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.raised:
            raise KeyboardInterrupt
        stop.raised = True
        say("stopping after this step; once more to stop without a checkpoint of it")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _overwrite(line: str) -> None:
    sys.stderr.write(f"\r{line}\033[K")
    sys.stderr.flush()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
