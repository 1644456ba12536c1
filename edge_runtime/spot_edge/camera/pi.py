"""The Raspberry Pi's own camera, through picamera2 where that is installed (`apt install python3-picamera2`)."""

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

# libcamera names its formats by the bytes of a little-endian word: its "RGB888" is B, G, R in memory, its "BGR888" RGB
_RGB = "BGR888"


def has_pi_camera() -> bool:
    """Whether picamera2 is installed and knows a camera that is the Pi's own."""
    try:
        return bool(find_pi_cameras())
    except CameraError:  # installed but broken: who asks for "pi" is told why
        return False


def find_pi_cameras() -> list[str]:
    """The sensors of the Pi's own cameras, as in "imx708"; none without picamera2. CameraError where that is broken."""
    if find_spec("picamera2") is None:
        return []
    with _explained():
        infos = _picamera2().global_camera_info()
        return [str(info.get("Model", "?")) for info in infos if "usb" not in str(info.get("Id", ""))]


class PiCamera:
    """The Pi's own camera, streaming at `size`."""

    live, name = True, "pi"

    def __init__(self, size: tuple[int, int], controls: Mapping[str, int | None], timeout: float) -> None:
        if controls:
            raise CameraError(f"pi: {', '.join(controls)} cannot be set on the Pi's own camera")
        if find_spec("picamera2") is None:
            raise CameraError("pi: needs picamera2: `sudo apt install python3-picamera2`")
        with _explained():
            self._camera = _picamera2()()
        try:
            with _explained():
                self._camera.configure(self._camera.create_video_configuration(main={"format": _RGB, "size": size}))
                self._camera.start()
        except CameraError:
            self.close()
            raise

    def read(self, deadline: float) -> bytes:
        """The next picture as a JPEG."""
        from PIL import Image

        with _explained():
            job = self._camera.capture_array("main", wait=False)
            return encode(Image.fromarray(job.get_result(timeout=max(0.0, deadline - time.monotonic()))))

    def skip(self, deadline: float) -> None:
        """Let the next frame go by: its metadata alone is asked for."""
        with _explained():
            self._camera.capture_metadata(wait=False).get_result(timeout=max(0.0, deadline - time.monotonic()))

    def lock(self, locked: bool) -> None:
        """Hold exposure, gain and white balance as they are, or let the camera find them again."""
        with _explained():
            self._camera.set_controls({"AeEnable": not locked, "AwbEnable": not locked})

    def close(self) -> None:
        """Stop, and let the camera go."""
        with suppress(OSError, RuntimeError):  # of what has failed already
            self._camera.close()


def _picamera2() -> Any:
    """The class Picamera2, imported only when it is used."""
    try:
        return import_module("picamera2").Picamera2
    except Exception as error:  # it loads libcamera, numpy and more, built for Debian's Python: much can fail to fit
        raise CameraError(f"pi: picamera2 cannot be imported: {error}: see docs/camera.md") from error


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what picamera2 raises into a CameraError with advice."""
    try:
        yield
    except TimeoutError:
        raise CameraError("pi: no picture in time: is the camera's ribbon cable in place?", transient=True) from None
    except (OSError, RuntimeError, IndexError, ValueError) as error:
        said = str(error) or type(error).__name__
        raise CameraError(f"pi: {said}: another program may use it, or its cable be loose", transient=True) from error
