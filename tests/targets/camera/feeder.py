"""The frames that a test feeds to the loopback camera."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from around import cameras, until

from spot_edge.camera import v4l2

__all__ = ["LOOP", "fed"]

LOOP = "/dev/video42"


class Feeder:
    """Writes `frames` to the loopback device in turn, 20 a second."""

    def __init__(self, width: int = 600, height: int = 450, form: bytes = b"MJPG", size: int = 1 << 19) -> None:
        self.frames: list[bytes] = []
        self.handle = os.open(LOOP, os.O_RDWR)
        code = int.from_bytes(form, "little")
        data = v4l2.FORMAT.pack(2, width, height, code, 1, 0, size)
        fcntl.ioctl(self.handle, v4l2.FORMAT.number(3, 5), data)
        self.running = True
        self.thread = threading.Thread(target=self._feed)

    def _feed(self) -> None:
        count = 0
        while self.running:
            if self.frames:
                os.write(self.handle, self.frames[count % len(self.frames)])
                count += 1
            time.sleep(0.05)


@contextmanager
def fed(*frames: bytes, **options: object) -> Iterator[Feeder]:
    feeder = Feeder(**options)  # type: ignore[arg-type]
    feeder.frames = list(frames)
    feeder.thread.start()
    until(lambda: cameras("Loop") and cameras("Loop")[0].formats)  # it offers no format until the first frame
    try:
        yield feeder
    finally:
        feeder.running = False
        feeder.thread.join()
        os.close(feeder.handle)
