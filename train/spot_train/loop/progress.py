"""Report the progress of a training, and stop it on a signal."""

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
    """Report each epoch, and in between the speed and the time left: live on a terminal, once a minute in a log."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._live = sys.stderr.isatty()
        self._next = time.monotonic() + (0 if self._live else 60)

    def step(self, phase: str, epoch: int, epochs: int, done: float, speed: float, left: float) -> None:
        """Report a step: the share of the epoch done, images per second, and the seconds until the phase ends."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + (0.5 if self._live else 60)
        line = f"{phase:>4} {epoch:3}/{epochs}  {done:4.0%}  {speed:.0f} images/s  {_duration(left)} left"
        if self._live:
            _overwrite(line)
        else:
            self._log(line)

    def epoch(self, done: Epoch) -> None:
        """Report the end of an epoch."""
        if self._live:
            _overwrite("")
        line = f"{done.phase:>4} {done.epoch:3}/{done.epochs}  {done.size} px  loss {done.loss:.4f}"
        line += f"  accuracy {done.accuracy:.3f}"
        if done.val_loss is not None:
            line += f"  validation: loss {done.val_loss:.4f}, balanced accuracy {done.val_balanced_accuracy:.3f}"
        self._log(f"{line}  ({done.images_per_second:.0f} images/s, {_duration(done.seconds)})")


class StopRequest:
    """A request to stop: set by a signal handler, checked between two steps."""

    raised = False


@contextmanager
def stop_on_signals(stop: StopRequest, log: Callable[[str], None]) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM request a stop. A second signal stops at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.raised:
            raise KeyboardInterrupt
        stop.raised = True
        log("stopping after this step; interrupt again to stop without a checkpoint")

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
