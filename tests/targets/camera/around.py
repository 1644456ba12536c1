"""Shared by the camera checks: the system around them, and the image that their cameras send."""

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

__all__ = ["LESION", "cameras", "expected_score", "in_32_bits", "modprobe", "read_on", "refused", "until"]

LESION = Path("drawn-melanoma-001.jpg").read_bytes()


def modprobe(*arguments: str) -> None:
    subprocess.run(["modprobe", *arguments], check=True)


def expected_score() -> str:
    """What the kiosk shows beside the top class of LESION, which a camera delivers byte for byte."""
    return f"model score {Classifier.load().classify(LESION).top.score:.2f}  malignant"


def until(found: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(0.05)


def cameras(name: str) -> list[Listed]:
    return [listed for listed in list_cameras(Kernel()) if name in listed.name]


def refused(name: str, message: str, **options: object) -> CameraError:
    with Camera(name, timeout=2, **options) as camera, pytest.raises(CameraError, match=message) as caught:  # type: ignore[arg-type]
        next(camera)
    return caught.value


def read_on(camera: Camera) -> None:
    """Read the frames that are already queued, and more."""
    for _ in range(10):
        next(camera)


def in_32_bits(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a Python program in the 32-bit system inside this one."""
    if not os.path.ismount("/opt/armhf/dev"):
        for folder in ("dev", "opt"):
            Path("/opt/armhf", folder).mkdir(exist_ok=True)
        subprocess.run(["busybox", "mount", "--bind", "/dev", "/opt/armhf/dev"], check=True)
        shutil.copytree("/opt/spot", "/opt/armhf/opt/spot")
    command = ["busybox", "chroot", "/opt/armhf", "/usr/bin/python3", "-c", program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env={"PYTHONPATH": "/opt/spot"}, **pipes)
