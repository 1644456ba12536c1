"""A Chromium without a window, with a profile of its own that is thrown away."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from spot_edge.errors import DataError

__all__ = ["find_chromium", "open_page"]

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
# Without the sandbox, for it wants rights that containers lack: the only page that is opened is our own.
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


def find_chromium() -> str:
    """The path of a Chromium or Chrome on the PATH; DataError where there is none."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise DataError(f"no Chromium on the PATH (looked for {', '.join(_NAMES)}): files for browsers are judged in one")


@contextmanager
def open_page(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A browser on `url`, ended at the end."""
    with tempfile.TemporaryDirectory(prefix="spot-edge-", ignore_cleanup_errors=True) as profile:
        command = [find_chromium(), *_OPTIONS, f"--user-data-dir={profile}", url]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
