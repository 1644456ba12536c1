"""Taking the names of users out of what is to be shown to others."""

from __future__ import annotations

import os
import re
from typing import Any

__all__ = ["without_users"]

_HOMES = re.compile(r"(/home/|/Users/|\\Users\\)[^/\\:'\"]+")


def without_users(value: Any) -> Any:
    """`value` with ~ for the home folders in its texts, however deep in lists and dictionaries they are."""
    if isinstance(value, str):
        home = os.path.expanduser("~")
        return _HOMES.sub("~", value.replace(home, "~") if len(home) > 1 else value)
    if isinstance(value, dict):
        return {key: without_users(inner) for key, inner in value.items()}
    return [without_users(inner) for inner in value] if isinstance(value, list | tuple) else value
