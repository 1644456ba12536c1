"""List the cameras of this system and what each offers."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from spot_edge.camera import v4l2
from spot_edge.camera.controls import Control, controls
from spot_edge.camera.v4l2 import Kernel, ask, camera_errors, fourcc
from spot_edge.errors import CameraError, one_line

__all__ = ["FORMATS", "Listed", "check_is_camera", "find_camera", "formats", "list_cameras"]

FORMATS = ("MJPG", "JPEG", "YUYV")  # in order of preference

_CAPTURE = 1
_PICTURES, _METADATA, _STREAMING, _BY_PARTS = 0x1, 0x00800000, 0x04000000, 0x20000000  # capabilities
_PER_NODE = 0x80000000  # device_caps describes this node, capabilities the whole device
_DISCRETE = 1
_MANY = 64  # no working driver lists more formats or sizes
# Parts of the Pi camera and of the video hardware, which deliver no finished images: see picamera2.
_PI_PARTS = ("bcm2835-isp", "bcm2835-codec", "unicam", "rp1-cfe", "pispbe", "rpivid", "rpi-hevc-dec")


@dataclass(frozen=True, slots=True)
class Listed:
    """One camera: path, name, bus, what it offers, and its problem, if any."""

    path: str
    name: str
    bus: str = ""
    formats: dict[str, tuple[str, ...]] = field(default_factory=dict)  # pixel format → sizes, as in "640x480"
    controls: tuple[Control, ...] = ()
    problem: CameraError | None = None


def list_cameras(kernel: Kernel) -> list[Listed]:
    """Find all cameras: those on USB first, those that cannot be opened last, with the reason."""
    found = [listed for path in kernel.nodes() if (listed := _examine(path, kernel))]
    return sorted(found, key=lambda listed: (bool(listed.problem), not listed.bus.startswith("usb-")))


def find_camera(kernel: Kernel) -> str | None:
    """Return the path of the first usable camera, or None. Raises CameraError if cameras exist but none opens."""
    listed = list_cameras(kernel)
    usable = [camera.path for camera in listed if set(camera.formats) & set(FORMATS)]
    closed = [camera.problem for camera in listed if camera.problem]
    if not usable and closed:
        raise closed[0]
    return usable[0] if usable else None


def _examine(path: str, kernel: Kernel) -> Listed | None:
    try:
        with camera_errors(path):
            handle = kernel.open(path)
            try:
                name, bus = check_is_camera(kernel, handle, path)
                offered = {form: _sizes(kernel, handle, code) for form, code in formats(kernel, handle).items()}
                return Listed(path, name, bus, offered, tuple(controls(kernel, handle)))
            finally:
                kernel.close(handle)
    except NotACamera:
        return None
    except CameraError as error:
        return Listed(path, "?", problem=error)


class NotACamera(CameraError):
    """A video device that delivers no images."""


def check_is_camera(kernel: Kernel, handle: int, path: str) -> tuple[str, str]:
    """Return the card and bus of a camera. Raises CameraError if the node is something else."""
    try:
        driver, card, bus, _, whole, node, *_ = ask(kernel, handle, v4l2.CAPABILITY, 2, 0)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ENOSYS):  # ENOSYS: in an emulator
            raise NotACamera(f"{path}: not a camera: see `spot-edge camera list`") from error
        raise
    able = node if whole & _PER_NODE else whole
    if able & _METADATA:
        raise NotACamera(f"{path}: delivers metadata of a camera, not images: see `spot-edge camera list`")
    if not able & _PICTURES or not able & _STREAMING or able & _BY_PARTS or _text(driver) in _PI_PARTS:
        raise NotACamera(f"{path}: not a camera that delivers images: see `spot-edge camera list`")
    return _text(card), _text(bus)


def formats(kernel: Kernel, handle: int) -> dict[str, int]:
    """The pixel formats on offer: name → V4L2 number."""
    found: dict[str, int] = {}
    for index in range(_MANY):
        try:
            answer = ask(kernel, handle, v4l2.FORMAT_INFO, 3, 2, index, _CAPTURE)
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL means: no more
                raise
            break
        found[fourcc(answer[4])] = answer[4]
    return found


def _sizes(kernel: Kernel, handle: int, code: int) -> tuple[str, ...]:
    """The sizes of a pixel format, largest first."""
    found = []
    for index in range(_MANY):
        try:
            _, _, kind, *sides = ask(kernel, handle, v4l2.SIZE_INFO, 3, 74, index, code)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                raise
            break
        if kind != _DISCRETE:  # a range: width from, to, step; height from, to, step
            return (f"{sides[0]}x{sides[3]} to {sides[1]}x{sides[4]}",)
        found.append((sides[0], sides[1]))
    return tuple(f"{width}x{height}" for width, height in sorted(found, reverse=True))


def _text(field: bytes) -> str:
    return one_line(field.partition(b"\0")[0].decode(errors="replace"))
