"""Other environments' Pythons, for packages that cannot live beside ours: are they what they should be?"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from spot_edge import __version__
from spot_edge.errors import DataError

__all__ = ["require_environment"]


def require_environment(python: Path, modules: Sequence[str], package: str) -> str:
    """The version of `package` in the environment of `python`, where our `modules` are as well; DataError elsewhere."""
    wanted = f"an environment with spot-edge-toolkit {__version__} and {package}"
    about = f"import {', '.join(modules)}; from importlib.metadata import version; import spot_edge"
    about += f"; print(spot_edge.__version__, version({package!r}))"
    try:
        done = subprocess.run([python, "-c", about], capture_output=True, text=True, check=False)
    except OSError as error:
        raise DataError(f"{python}: cannot be run: {error.strerror}: name the Python of {wanted}") from None
    found = done.stdout.split()
    if done.returncode or len(found) != 2:
        reason = (done.stderr.strip() or "no answer").splitlines()[-1]
        raise DataError(f"{python}: not the Python of {wanted}: {reason}")
    if found[0] != __version__:
        raise DataError(f"{python}: has spot-edge {found[0]}, this is {__version__}: install the same there")
    return found[1]
