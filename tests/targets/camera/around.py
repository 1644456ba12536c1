"""What the checks of cameras share: the system around them, and a picture that their cameras send."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from spot_edge import Camera, CameraError, Classifier
from spot_edge.camera.listing import Listed, list_cameras
from spot_edge.camera.v4l2 import Kernel

__all__ = ["LESION", "answered", "cameras", "in_32_bits", "modprobe", "read_on", "refused", "until"]

LESION = Path("drawn-melanoma-001.jpg").read_bytes()


def modprobe(*arguments: str) -> None:
    subprocess.run(["modprobe", *arguments], check=True)


def answered() -> str:
    """What the kiosk's first rank of LESION, which comes through a camera byte for byte, has beside its name."""
    return f"model score {Classifier.load().classify(LESION).top.score:.2f}  malignant"


def until(found: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def cameras(name: str) -> list[Listed]:
    return [listed for listed in list_cameras(Kernel()) if name in listed.name]


def refused(name: str, said: str, **options: object) -> CameraError:
    with Camera(name, timeout=2, **options) as camera, pytest.raises(CameraError, match=said) as caught:  # type: ignore[arg-type]
        next(camera)
    return caught.value


def read_on(camera: Camera) -> None:
    """Take the frames that lie there already, and more."""
    for _ in range(10):
        next(camera)


def in_32_bits(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A Python program in the 32-bit system that lies within this one."""
    if not os.path.ismount("/opt/armhf/dev"):
        for folder in ("dev", "opt"):
            Path("/opt/armhf", folder).mkdir(exist_ok=True)
        subprocess.run(["busybox", "mount", "--bind", "/dev", "/opt/armhf/dev"], check=True)
        shutil.copytree("/opt/spot", "/opt/armhf/opt/spot")
    command = ["busybox", "chroot", "/opt/armhf", "/usr/bin/python3", "-c", program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env={"PYTHONPATH": "/opt/spot"}, **pipes)
