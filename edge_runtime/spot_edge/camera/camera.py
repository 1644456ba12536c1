"""The camera of the device, whichever it is: an iterator of JPEG bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from spot_edge.camera.v4l2 import Kernel
from spot_edge.errors import CameraError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["SIZE", "TIMEOUT", "Camera"]

SIZE = (1280, 960)
TIMEOUT = 5.0
_WARM_UP_FRAMES, _WARM_UP_SECONDS = 8, 2.0  # until exposure and white balance have settled; whichever ends first
_FRAMES_AFTER_LOCK = 2  # on their way already, or taken while the camera changed


class Feed(Protocol):
    """What all kinds of camera have in common."""

    name: str
    live: bool  # whether its frames come by themselves, the first ones worse than later ones

    def read(self, deadline: float) -> bytes:
        """The next JPEG. StopIteration where there are no more, CameraError where none comes until `deadline`."""

    def skip(self, deadline: float) -> None:
        """Let the next frame go by without looking at it; where pictures wait to be asked for, nothing."""

    def lock(self, locked: bool) -> None:
        """Hold focus, exposure and white balance, or let them go."""

    def close(self) -> None:
        """Let the camera go."""


class Camera:
    """A camera as an iterator of JPEG bytes.

    `name` is "auto" (the first USB camera, else the Pi's own), "pi", a device such as "/dev/video0", or a folder or
    file of pictures. The camera is opened when the first picture is asked for; its first frames are dropped while
    exposure settles. Every wait ends after `timeout` seconds. After a CameraError the next picture that is asked for
    opens the camera anew: where the error is `passing` (unplugged, busy, silent), a long-running program asks on.

    `controls` sets focus, exposure and their like by name; `lock` holds (True) or frees (False) focus, exposure, white
    balance and gain. Cameras keep both until they are unplugged. One thread at a time may use a Camera.
    """

    def __init__(
        self,
        name: str | os.PathLike[str] = "auto",
        *,
        size: tuple[int, int] = SIZE,
        timeout: float = TIMEOUT,
        controls: Mapping[str, int | None] | None = None,
        lock: bool | None = None,
        kernel: Kernel | None = None,
    ) -> None:
        self.name: str = os.fspath(name)
        self._size, self._timeout, self._lock = size, timeout, lock
        self._controls, self._kernel = dict(controls or {}), kernel or Kernel()
        self._feed: Feed | None = None

    def __iter__(self) -> Camera:
        return self

    def __next__(self) -> bytes:
        """The next picture, taken no more than half a second before it is asked for."""
        with self._fed() as feed:
            return feed.read(time.monotonic() + self._timeout)

    def skip(self) -> bool:
        """Let the next frame go by, whole or not, at next to no cost: what a program does while it needs no picture, to
        know that the camera is there. False where pictures wait until they are asked for, as in a folder."""
        with self._fed() as feed:
            feed.skip(time.monotonic() + self._timeout)
            return feed.live

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def opened(self) -> str:
        """The name of the camera that is open: what "auto" found."""
        return self._feed.name if self._feed else self.name

    def close(self) -> None:
        """Let the camera go; the next picture that is asked for opens it anew."""
        if self._feed is not None:
            feed, self._feed = self._feed, None
            feed.close()

    @contextmanager
    def _fed(self) -> Iterator[Feed]:
        """What gives the pictures, opened where it is not; a CameraError closes it."""
        try:
            if self._feed is None:
                self._feed = self._open()
                self._warm_up(self._feed)
            yield self._feed
        except CameraError:
            self.close()
            raise

    def _open(self) -> Feed:
        from spot_edge.camera.device import Device
        from spot_edge.camera.folder import Pictures

        name = self.name
        if name == "auto":
            from spot_edge.camera.listing import find_camera
            from spot_edge.camera.pi import has_pi_camera

            found = find_camera(self._kernel) or ("pi" if has_pi_camera() else None)
            if found is None:
                raise CameraError("no camera found: plug one in, or name it (--camera /dev/video0)", transient=True)
            name = found
        if name == "pi":
            from spot_edge.camera.pi import PiCamera

            return PiCamera(self._size, self._controls, self._timeout)
        if _holds_pictures(name):
            return Pictures(name)
        try:
            return Device(name, self._size, self._controls, self._kernel)
        except CameraError:
            if _holds_pictures(name):  # it was not there a moment ago
                return Pictures(name)
            raise

    def _warm_up(self, feed: Feed) -> None:
        if self._lock is False:
            feed.lock(False)
        until = time.monotonic() + _WARM_UP_SECONDS
        for _ in range(_WARM_UP_FRAMES if feed.live else 0):
            feed.read(time.monotonic() + self._timeout)
            if time.monotonic() > until:
                break
        if self._lock:
            feed.lock(True)
            for _ in range(_FRAMES_AFTER_LOCK if feed.live else 0):
                feed.read(time.monotonic() + self._timeout)


def _holds_pictures(name: str) -> bool:
    return os.path.isdir(name) or os.path.isfile(name)
