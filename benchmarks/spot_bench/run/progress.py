"""Show the progress of long work on stderr. Shows nothing where stderr is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

import click

__all__ = ["Bar", "byte_counter", "image_bar", "no_bar", "progress_bar"]

# From a title and a length to a context whose function is called with the number of steps just done.
Bar: TypeAlias = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def progress_bar(title: str, length: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of `length` steps; call the function with the number of steps just done."""
    if not sys.stderr.isatty():
        yield lambda steps: None
        return
    with click.progressbar(length=length, label=title, file=sys.stderr, show_pos=True) as bar:
        yield bar.update


@contextmanager
def image_bar(title: str, length: int) -> Iterator[Callable[[int, int], None]]:
    """Show a bar over images; call the function with (images done, images to do) after each image.

    A resumed run has fewer images to do than `length`: the bar then shrinks to that number.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with click.progressbar(length=length, label=title, file=sys.stderr, show_pos=True) as bar:

        def advance(done: int, total: int) -> None:
            bar.length = total
            bar.update(1)

        yield advance


@contextmanager
def no_bar(title: str, length: int) -> Iterator[Callable[[int], None]]:
    """Show nothing: for callers that want no progress."""
    yield lambda steps: None


@contextmanager
def byte_counter(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a line with the megabytes done; call the function with (bytes done, bytes in all or None)."""
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
