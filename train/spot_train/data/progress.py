"""Progress of long work, on a terminal alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

__all__ = ["byte_counter", "progress_bar"]


@contextmanager
def progress_bar(length: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr that is moved on by what the function in it is called with; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True) as bar:
        yield bar.update


@contextmanager
def byte_counter(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """A line on stderr that says how many of how many bytes are there; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    shown = 0.0

    def show(done: int, total: int | None) -> None:
        nonlocal shown
        now = time.monotonic()
        if now >= shown + 0.2 or done == total:
            shown = now
            whole = f" of {total / 1e6:.1f}" if total is not None else ""
            sys.stderr.write(f"\r{label}  {done / 1e6:.1f}{whole} MB\033[K")
            sys.stderr.flush()

    try:
        yield show
    finally:
        if shown:
            sys.stderr.write("\n")
