"""Find LiteRT.js in a folder where `npm install @litertjs/core` was run, and open a page in a headless Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spot_edge.errors import DataError

__all__ = ["find_chromium", "litertjs_version", "open_page"]

_PACKAGE = Path("node_modules/@litertjs/core")
_NEEDED = ("dist/index.js", "wasm/litert_wasm_internal.js", "wasm/litert_wasm_internal.wasm")


def litertjs_version(folder: Path | None) -> str:
    """Return the version of LiteRT.js in `folder`. Raise DataError if it is not installed there."""
    how = "npm install @litertjs/core"
    if folder is None:
        raise DataError(f"evaluating in a browser needs LiteRT.js: run '{how}' in a folder and name it with --browser")
    package = folder / _PACKAGE
    try:
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: contains no {_PACKAGE}: run '{how}' in it") from None
    if lacking := [name for name in _NEEDED if not (package / name).is_file()]:
        raise DataError(f"{package}: lacks {lacking[0]}: run '{how}' in {folder} again")
    return str(version)


_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
# Without the sandbox, which needs rights that containers lack. Chromium opens only our own page.
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


def find_chromium() -> str:
    """Return the path of a Chromium or Chrome on the PATH. Raise DataError if there is none."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise DataError(f"evaluating in a browser needs Chromium, and none is on the PATH (tried {', '.join(_NAMES)})")


@contextmanager
def open_page(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """Open `url` in a browser with a temporary profile, and close the browser at the end."""
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
