"""Load the model of a command."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from spot_edge.classifier import Classifier
from spot_edge.model.interpreter import default_threads

__all__ = ["load", "load_several"]

_IMAGES_EACH = 4  # an interpreter that classifies fewer is not worth loading


def load(model: str | None, *, runtime: str | None = None, threads: int | None = None, views: int = 1) -> Classifier:
    """Load a classifier, without log output of the interpreter, and turn garbage collection on."""
    return load_several(model, 1, runtime=runtime, threads=threads, views=views)[0]


def load_several(
    model: str | None, images: int, *, runtime: str | None = None, threads: int | None = None, views: int = 1
) -> list[Classifier]:
    """Load classifiers of one model that share `threads` processors (default: all, at most four) for so many images.

    Many images get interpreters with one thread each: two images at a time are faster than two threads for each in
    turn.
    """
    threads = threads or default_threads()
    count = max(1, min(threads, images // _IMAGES_EACH))
    with _without_native_log():
        first = Classifier.load(model, runtime=runtime, threads=threads // count, views=views)
        others = [
            Classifier(first.model, runtime=first.runtime.name, threads=threads // count, views=views)
            for _ in range(1, count)
        ]
    gc.enable()
    return [first, *others]


@contextmanager
def _without_native_log() -> Iterator[None]:
    """Hide what the interpreter's C++ code logs while it loads ("INFO: Created …")."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
