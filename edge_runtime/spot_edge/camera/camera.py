"""Any kind of camera as an iterator of JPEG bytes."""

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
_WARM_UP_FRAMES, _WARM_UP_SECONDS = 8, 2.0  # time for exposure and white balance to settle; the first limit counts
_FRAMES_AFTER_LOCK = 2  # these may be from before the lock


class Feed(Protocol):
    """The interface of all kinds of camera."""

    name: str
    live: bool  # whether frames arrive by themselves, and the first ones are worse

    def read(self, deadline: float) -> bytes:
        """Return the next JPEG. Raises StopIteration at the end, CameraError if none arrives by `deadline`."""

    def skip(self, deadline: float) -> None:
        """Drop the next frame. Does nothing if images wait until they are read."""

    def lock(self, locked: bool) -> None:
        """Lock or unlock focus, exposure and white balance."""

    def close(self) -> None:
        """Close the camera."""


class Camera:
    """A camera as an iterator of JPEG bytes.

    `name` is "auto" (the first USB camera, else the Pi camera), "pi", a path such as "/dev/video0", or a folder or
    file with images. The first image opens the camera and drops its first frames, while exposure settles. Every wait
    ends after `timeout` seconds. After a CameraError, the next image opens the camera again. If the error is
    `transient` (unplugged, busy, silent), a long-running program should keep trying.

    `controls` sets focus, exposure and others by name. `lock` locks (True) or unlocks (False) focus, exposure, white
    balance and gain. Cameras keep both until they are unplugged. Not thread-safe.
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
        """Return the next image, at most half a second old."""
        with self._fed() as feed:
            return feed.read(time.monotonic() + self._timeout)

    def skip(self) -> bool:
        """Drop the next frame at almost no cost, to check that the camera is still there.

        Returns False for folders, where images wait until they are read.
        """
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
        """The name of the open camera, such as the one that "auto" found."""
        return self._feed.name if self._feed else self.name

    def close(self) -> None:
        """Close the camera. The next image opens it again."""
        if self._feed is not None:
            feed, self._feed = self._feed, None
            feed.close()

    @contextmanager
    def _fed(self) -> Iterator[Feed]:
        """The open feed. A CameraError closes it."""
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
        from spot_edge.camera.folder import ImageFolder

        name = self.name
        if name == "auto":
            from spot_edge.camera.listing import find_camera
            from spot_edge.camera.pi import has_pi_camera

            found = find_camera(self._kernel) or ("pi" if has_pi_camera() else None)
            if found is None:
                raise CameraError("no camera found: plug one in, or name one (--camera /dev/video0)", transient=True)
            name = found
        if name == "pi":
            from spot_edge.camera.pi import PiCamera

            return PiCamera(self._size, self._controls, self._timeout)
        if _is_file_or_folder(name):
            return ImageFolder(name)
        try:
            return Device(name, self._size, self._controls, self._kernel)
        except CameraError:
            if _is_file_or_folder(name):  # created a moment ago
                return ImageFolder(name)
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


def _is_file_or_folder(name: str) -> bool:
    return os.path.isdir(name) or os.path.isfile(name)
