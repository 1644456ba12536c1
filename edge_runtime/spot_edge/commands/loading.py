"""Loading a model for a command."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from spot_edge.classifier import Classifier
from spot_edge.interpreter import default_threads

__all__ = ["load", "load_several"]

_PICTURES = 4  # that a further interpreter has to judge to be worth its loading


def load(model: str | None, *, runtime: str | None = None, threads: int | None = None) -> Classifier:
    """The classifier, loaded without a word of the interpreter's own; from here on garbage is collected again."""
    return load_several(model, 1, runtime=runtime, threads=threads)[0]


def load_several(
    model: str | None, pictures: int, *, runtime: str | None = None, threads: int | None = None
) -> list[Classifier]:
    """As `load`, classifiers of one model that share `threads` processors [all, at most four] for so many pictures.

    Many pictures get interpreters of one thread each: two at once take less time than two threads on each in turn.
    """
    threads = threads or default_threads()
    count = max(1, min(threads, pictures // _PICTURES))
    with _without_native_log():
        first = Classifier.load(model, runtime=runtime, threads=threads // count)
        others = [
            Classifier(first.model, runtime=first.runtime.name, threads=threads // count) for _ in range(1, count)
        ]
    gc.enable()
    return [first, *others]


@contextmanager
def _without_native_log() -> Iterator[None]:
    """Keep what the interpreter's C++ code logs while it loads ("INFO: Created …") from the user's screen."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
