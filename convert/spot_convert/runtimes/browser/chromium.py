"""Where LiteRT.js lies: a folder in which `npm install @litertjs/core` was run.

A Chromium without a window, with a profile of its own that is thrown away."""

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
    """The version of LiteRT.js in `folder`; DataError where there is none."""
    how = "npm install @litertjs/core"
    if folder is None:
        raise DataError(f"files for browsers are judged in one: run '{how}' in a folder and name it with --browser")
    package = folder / _PACKAGE
    try:
        version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: holds no {_PACKAGE}: run '{how}' in it") from None
    if lacking := [name for name in _NEEDED if not (package / name).is_file()]:
        raise DataError(f"{package}: lacks {lacking[0]}: run '{how}' in {folder} again")
    return str(version)


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
