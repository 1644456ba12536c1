"""The errors that a user can fix, and the exit code of each.

A `SpotError` says in one line what is wrong with which input, and what to do. The command line prints that line and
exits with the error's code. Any other exception is a bug and shows as a traceback.
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
    "first_line",
    "install_hint",
    "is_interrupt",
    "is_within",
    "one_line",
]


class SpotError(Exception):
    """The base class of all errors that spot-edge raises on purpose."""

    exit_code = 1


class InputError(SpotError):
    """An image that is missing, damaged, or of a kind that cannot be classified reliably.

    `transient` is true if the image is not to blame, so that trying again may help.
    """

    exit_code = 3

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient

    @classmethod
    def out_of_memory(cls, name: str) -> InputError:
        """The error for an image that would need more memory than there is now."""
        return cls(f"{name}: not enough memory: close other programs, or save a smaller version", transient=True)


class ModelError(SpotError):
    """A model file that is damaged, has unexpected inputs or outputs, or was not made by spot-edge."""

    exit_code = 4


class InterpreterError(SpotError):
    """No TFLite interpreter is installed, or it cannot load or run the model."""

    exit_code = 5


class OutputError(SpotError):
    """A result that cannot be written."""

    exit_code = 6


class DataError(SpotError):
    """A data set, split, recipe or run directory that cannot be used."""

    exit_code = 7


class CheckError(SpotError):
    """A required check failed, such as the parity of a conversion or the drift gate."""

    exit_code = 8


class CameraError(SpotError):
    """A camera is missing, busy, unplugged, silent or not permitted. `transient` is true if waiting may help."""

    exit_code = 9

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


EXIT_CODES: dict[int, str] = {
    0: "success",
    1: "a bug in spot-edge: please report the traceback",
    2: "wrong command line",
    3: "an input could not be classified (the others were)",
    4: "the model file was rejected",
    5: "no TFLite interpreter, or the model fails in it",
    6: "a result could not be written",
    7: "a data set, split, recipe or run directory cannot be used",
    8: "a required check failed",
    9: "no camera, or it delivers no image",
    130: "interrupted",
}


def install_hint(extra: str = "") -> str:
    """How to install the workstation toolkit, optionally with one of its extras, to be put after "Install it"."""
    toolkit = f"'.[{extra}]'" if extra else "."
    return f"from a clone of spot-edge: pip install ./edge_runtime {toolkit}"


def is_interrupt(error: BaseException | None) -> bool:
    """Whether `error` is, or was caused by, a KeyboardInterrupt: Python wraps one that comes while it makes a class."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def is_within(frame: FrameType | None, code: CodeType) -> bool:
    """Whether the function with this `__code__` is running in `frame`, or called what is running there."""
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class."""
    return (str(error) or type(error).__name__).splitlines()[0]


def one_line(text: str) -> str:
    """`text` for a terminal, with line breaks, control characters and undecodable bytes escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
