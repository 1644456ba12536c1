"""Cameras: what each offers, and whether this user may open them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from spot_edge.camera.listing import FORMATS, list_cameras
from spot_edge.camera.pi import find_pi_cameras
from spot_edge.camera.v4l2 import Kernel
from spot_edge.errors import CameraError
from spot_edge.isolated import run_isolated

__all__ = ["CameraStatus", "Cameras", "read_cameras", "read_pi_cameras"]

_TIMEOUT = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera, its image formats, and its problem, if any."""

    path: str
    name: str
    formats: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Cameras:
    """All cameras, and whether this user is in the group that may open them (None if unknown)."""

    seen: tuple[CameraStatus, ...] = ()
    permitted: bool | None = None


def read_cameras(kernel: Kernel) -> Cameras:
    """Find the cameras that the kernel knows, and the Pi camera."""
    seen = []
    for listed in list_cameras(kernel):
        problem = str(listed.problem) if listed.problem else None
        if not problem and not set(listed.formats) & set(FORMATS):
            offers = ", ".join(listed.formats)
            problem = f"{listed.path}: offers {offers}, but spot-edge needs {' or '.join(FORMATS)}: use another camera"
            if not offers:
                problem = f"{listed.path}: no frames yet. Is the program that feeds this device running?"
        seen.append(CameraStatus(listed.path, listed.name, tuple(listed.formats), problem))
    return Cameras((*seen, *_pi_cameras()), _permitted())


def read_pi_cameras() -> Iterator[dict[str, Any]]:
    """Yield the names of the Pi's own cameras, or an error. Runs in a subprocess: picamera2 loads much native code."""
    try:
        yield {"names": find_pi_cameras()}
    except CameraError as error:
        yield {"error": str(error)}


def _pi_cameras() -> list[CameraStatus]:
    if find_spec("picamera2") is None:
        return []
    outcome = run_isolated(read_pi_cameras, timeout=_TIMEOUT)
    if not outcome.records:
        return [CameraStatus("pi", "?", problem=f"pi: picamera2 {outcome.reason}: see docs/how-to/use-a-camera.md")]
    answer = outcome.records[-1]
    if "error" in answer:
        return [CameraStatus("pi", "?", problem=answer["error"])]
    return [CameraStatus("pi", name) for name in answer["names"]]


def _permitted() -> bool | None:
    """Whether this user is root or in the group `video`, which owns cameras on Debian."""
    try:
        import grp  # not available everywhere

        return os.geteuid() == 0 or grp.getgrnam("video").gr_gid in (os.getegid(), *os.getgroups())
    except (ImportError, KeyError):
        return None
