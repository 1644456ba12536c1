"""Camera controls such as focus, exposure and zoom, under names that do not depend on the driver."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from spot_edge.camera import v4l2
from spot_edge.camera.v4l2 import Kernel, ask
from spot_edge.errors import CameraError, one_line

__all__ = ["Control", "controls", "lock", "press_or_set", "unlock"]

# our name → V4L2 number
_NAMES = {
    "focus": 0x009A090A,
    "focus-auto": 0x009A090C,
    "exposure": 0x009A0902,
    "exposure-auto": 0x009A0901,
    "white-balance": 0x0098091A,
    "white-balance-auto": 0x0098090C,
    "gain": 0x00980913,
    "gain-auto": 0x00980912,
    "zoom": 0x009A090D,
    "brightness": 0x00980900,
    "contrast": 0x00980901,
    "saturation": 0x00980902,
    "sharpness": 0x0098091B,
    "power-line": 0x00980918,
}
# automatic value → the control that automates it, and the value that turns this off
_AUTOMATIC = {
    "focus": ("focus-auto", 0),
    "exposure": ("exposure-auto", 1),
    "white-balance": ("white-balance-auto", 0),
    "gain": ("gain-auto", 0),
}
_BUTTON = 4
_OFF, _READ_ONLY = 0x1, 0x4
_NEXT = 0x80000000
_MANY = 256


@dataclass(frozen=True, slots=True)
class Control:
    """One control of a camera. A button has no value."""

    name: str
    number: int
    low: int
    high: int
    step: int
    default: int
    button: bool = False
    value: int | None = None


def controls(kernel: Kernel, handle: int) -> Iterator[Control]:
    """Yield the controls in `_NAMES`, and all buttons."""
    ours = {number: name for name, number in _NAMES.items()}
    number = 0
    for _ in range(_MANY):
        try:
            number, kind, name, low, high, step, default, flags, *_ = ask(
                kernel, handle, v4l2.CONTROL_INFO, 3, 36, number | _NEXT
            )
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                raise
            return
        if flags & (_OFF | _READ_ONLY):
            continue
        if kind == _BUTTON:
            said = one_line(name.partition(b"\0")[0].decode(errors="replace"))
            yield Control(said.lower().replace(" ", "-"), number, low, high, step, default, button=True)
        elif number in ours:
            yield Control(ours[number], number, low, high, step, default, value=_value(kernel, handle, number))


def press_or_set(kernel: Kernel, handle: int, path: str, name: str, value: int | None) -> None:
    """Set the control `name` to `value`, or press it. Turns off its automatic mode first."""
    offered = {control.name: control for control in controls(kernel, handle)}
    control = offered.get(name)
    if control is None:
        raise CameraError(f"{path}: has no control {name!r}. It offers {', '.join(offered) or 'none'}")
    if control.button != (value is None):
        raise CameraError(f"{path}: {name} {'takes no value' if control.button else 'needs a value'}")
    if value is not None and not control.low <= value <= control.high:
        raise CameraError(f"{path}: {name} must be from {control.low} to {control.high}, not {value}")
    automatic, manual = _AUTOMATIC.get(name, ("", 0))
    if automatic in offered:
        _set(kernel, handle, path, offered[automatic], manual)
    _set(kernel, handle, path, control, value or 0)


def lock(kernel: Kernel, handle: int, path: str) -> None:
    """Turn off each automatic mode, and restore the value if that changed it."""
    offered = {control.name: control for control in controls(kernel, handle)}
    held = False
    for name, (automatic, manual) in _AUTOMATIC.items():
        if automatic not in offered:
            continue
        held = True
        if offered[automatic].value == manual:
            continue
        _set(kernel, handle, path, offered[automatic], manual)
        control = offered.get(name)
        if control and control.value is not None and control.value != _value(kernel, handle, control.number):
            _set(kernel, handle, path, control, control.value)
    if not held:
        raise CameraError(f"{path}: cannot lock focus, exposure or white balance")


def unlock(kernel: Kernel, handle: int, path: str) -> None:
    """Turn on the automatic modes again."""
    offered = {control.name: control for control in controls(kernel, handle)}
    for automatic, _ in _AUTOMATIC.values():
        if automatic in offered:
            _set(kernel, handle, path, offered[automatic], offered[automatic].default)


def _value(kernel: Kernel, handle: int, number: int) -> int | None:
    try:
        return int(ask(kernel, handle, v4l2.CONTROL, 3, 27, number, 0)[1])
    except OSError:  # some cameras list a control but cannot read it
        return None


def _set(kernel: Kernel, handle: int, path: str, control: Control, value: int) -> None:
    try:
        ask(kernel, handle, v4l2.CONTROL, 3, 28, control.number, value)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise
        raise CameraError(f"{path}: {control.name} cannot be set to {value}: {error.strerror}") from error
