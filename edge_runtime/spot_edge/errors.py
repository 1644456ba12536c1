"""Everything that can go wrong in a way a user can mend, and the exit code of each.

A `SpotError` says in one line what is wrong with which input and what to do. The command line prints that line and
ends with the error's exit code; any other exception is a bug and shows as a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = [
    "EXIT_CODES",
    "CameraError",
    "CheckError",
    "DataError",
    "InputError",
    "InterpreterError",
    "ModelError",
    "OutputError",
    "SpotError",
    "is_interrupt",
    "is_within",
    "one_line",
]


class SpotError(Exception):
    """The root of all errors that spot-edge raises on purpose."""

    exit_code = 1


class InputError(SpotError):
    """An image that is missing, damaged, or of a kind that cannot be judged honestly."""

    exit_code = 3


class ModelError(SpotError):
    """A model file that is damaged, of another shape, or not ours."""

    exit_code = 4


class InterpreterError(SpotError):
    """No TFLite interpreter is installed, or it refuses the model."""

    exit_code = 5


class OutputError(SpotError):
    """A result that cannot be written."""

    exit_code = 6


class DataError(SpotError):
    """A data set, split, recipe or run directory that cannot be used as it is."""

    exit_code = 7


class CheckError(SpotError):
    """A check that had to hold did not: a conversion without parity, a gate that failed."""

    exit_code = 8


class CameraError(SpotError):
    """A camera that is missing, closed to us, busy, unplugged or silent; `transient` where waiting may help."""

    exit_code = 9

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


EXIT_CODES: dict[int, str] = {
    0: "everything asked for was done",
    1: "a bug in spot-edge: the traceback belongs in a report",
    2: "the command line is wrong",
    3: "some input could not be judged (the others were)",
    4: "the model file was refused",
    5: "no TFLite interpreter, or it refused the model",
    6: "a result could not be written",
    7: "a data set, split, recipe or run directory cannot be used",
    8: "a check that had to hold failed",
    9: "no camera, or it gives no picture",
    130: "interrupted",
}


def is_interrupt(error: BaseException | None) -> bool:
    """Whether `error` is a wish to end, or what Python has made of one: within the making of a class, another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def is_within(frame: FrameType | None, code: CodeType) -> bool:
    """Whether a function, of which this is the `__code__`, is at work in `frame` or called what is."""
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def one_line(text: str) -> str:
    """`text` for a terminal: a file name's line breaks, control characters and undecodable bytes are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
