"""Starting a loud library: TensorFlow tells every user of drivers it did not find and options nobody chose."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_start"]


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what is written to stderr meanwhile, C++ included; it is shown where the block fails.

    TF_CPP_MIN_LOG_LEVEL=0 in the environment shows all of it.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") < "3":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except ImportError:  # says itself what is missing
            raise
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
