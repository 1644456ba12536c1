"""The Raspberry Pi camera, through picamera2 (`apt install python3-picamera2`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from spot_edge.camera.frames import encode
from spot_edge.errors import CameraError

__all__ = ["PiCamera", "find_pi_cameras", "has_pi_camera"]

# libcamera names formats by the bytes of a little-endian word: its "BGR888" is R, G, B in memory
_RGB = "BGR888"


def has_pi_camera() -> bool:
    """Whether picamera2 is installed and finds a Pi camera."""
    try:
        return bool(find_pi_cameras())
    except CameraError:  # installed but broken: the name "pi" reports why
        return False


def find_pi_cameras() -> list[str]:
    """Sensor names of Pi cameras, such as "imx708". Empty without picamera2. Raises CameraError if it is broken."""
    if find_spec("picamera2") is None:
        return []
    with _camera_errors():
        infos = _picamera2().global_camera_info()
        return [str(info.get("Model", "?")) for info in infos if "usb" not in str(info.get("Id", ""))]


class PiCamera:
    """The Pi camera, streaming at `size`."""

    live, name = True, "pi"

    def __init__(self, size: tuple[int, int], controls: Mapping[str, int | None], timeout: float) -> None:
        if controls:
            raise CameraError(f"pi: {', '.join(controls)} cannot be set on the Pi camera")
        if find_spec("picamera2") is None:
            raise CameraError("pi: picamera2 is missing: run `sudo apt install python3-picamera2`")
        with _camera_errors():
            self._camera = _picamera2()()
        try:
            with _camera_errors():
                self._camera.configure(self._camera.create_video_configuration(main={"format": _RGB, "size": size}))
                self._camera.start()
        except CameraError:
            self.close()
            raise

    def read(self, deadline: float) -> bytes:
        """Return the next image as a JPEG."""
        from PIL import Image

        with _camera_errors():
            job = self._camera.capture_array("main", wait=False)
            return encode(Image.fromarray(job.get_result(timeout=max(0.0, deadline - time.monotonic()))))

    def skip(self, deadline: float) -> None:
        """Drop the next frame: only its metadata is fetched."""
        with _camera_errors():
            self._camera.capture_metadata(wait=False).get_result(timeout=max(0.0, deadline - time.monotonic()))

    def lock(self, locked: bool) -> None:
        """Lock exposure, gain and white balance, or make them automatic again."""
        with _camera_errors():
            self._camera.set_controls({"AeEnable": not locked, "AwbEnable": not locked})

    def close(self) -> None:
        """Stop streaming and close the camera."""
        with suppress(OSError, RuntimeError):  # it may have failed already
            self._camera.close()


def _picamera2() -> Any:
    """The class Picamera2, imported on first use."""
    try:
        return import_module("picamera2").Picamera2
    except Exception as error:  # it loads libcamera, numpy and more, built for Debian's Python
        raise CameraError(f"pi: picamera2 cannot be imported: {error}: see docs/how-to/use-a-camera.md") from error


@contextmanager
def _camera_errors() -> Iterator[None]:
    """Turn what picamera2 raises into a CameraError with advice."""
    try:
        yield
    except TimeoutError:
        raise CameraError("pi: no image in time. Is the ribbon cable of the camera in place?", transient=True) from None
    except (OSError, RuntimeError, IndexError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise CameraError(f"pi: {reason}: another program may use it, or its cable is loose", transient=True) from error
