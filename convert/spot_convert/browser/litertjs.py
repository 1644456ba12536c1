"""Where LiteRT.js lies: a folder in which `npm install @litertjs/core` was run."""

from __future__ import annotations

import json
from pathlib import Path

from spot_edge.errors import DataError

__all__ = ["litertjs_version"]

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
