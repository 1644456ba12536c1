"""Loading a model for a command."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from spot_edge.classifier import Classifier

__all__ = ["load"]


def load(model: str | None, *, runtime: str | None = None, threads: int | None = None) -> Classifier:
    """The classifier, loaded without a word of the interpreter's own; from here on garbage is collected again."""
    with _without_native_log():
        classifier = Classifier.load(model, runtime=runtime, threads=threads)
    gc.enable()
    return classifier


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
