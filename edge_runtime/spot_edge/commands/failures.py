"""What to report about one image when something unexpected goes wrong, so that the other images are processed."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from spot_edge import __version__
from spot_edge.errors import CameraError, InputError, InterpreterError, SpotError, first_line, is_interrupt

__all__ = ["failure_of"]

_writing = threading.Lock()  # several images are classified at once
_log: str | None = None  # of this process
_most = 20  # tracebacks in it: a kiosk may run for years


def failure_of(error: Exception, name: str) -> SpotError:
    """The error to report for the image `name`, after an exception while it was classified.

    An exception that is no SpotError is a lack of memory, or a bug whose traceback goes to a log. Raises `error` again
    if it is an interrupt, or concerns more than this image.
    """
    if is_interrupt(error):
        raise error
    if isinstance(error, SpotError):
        if not isinstance(error, InputError | InterpreterError | CameraError):
            raise error
        return error
    if isinstance(error, MemoryError):
        return InputError.out_of_memory(name)
    about = f"{name}: a bug in spot-edge ({type(error).__name__}: {first_line(error)})"
    log = _write_log(error, name)
    return InputError(f"{about}: please report {log}" if log else f"{about}: please report it", transient=True)


def _write_log(error: Exception, name: str) -> str | None:
    """Append the traceback to this process's log. Returns the log's path, or None if none can be written."""
    global _log, _most
    import tempfile  # slow to import, and rarely needed
    import traceback

    text = "".join([f"spot-edge {__version__}, {name!r}\n", *traceback.format_exception(error), "\n"])
    with _writing, suppress(OSError):
        if _log is None:
            handle, _log = tempfile.mkstemp(".log", "spot-edge-bug-")  # for its owner alone
            os.close(handle)
        if _most > 0:
            _most -= 1
            with open(_log, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        return _log
    return None
