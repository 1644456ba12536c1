"""What the kernel tells in small files under /proc and /sys; None where there is no such file, or it refuses."""

from __future__ import annotations

import math
from pathlib import Path

__all__ = ["number_in", "text_in"]


def text_in(path: Path) -> str | None:
    """The file's text without the spaces around it, and without the zero byte that ends a device tree's."""
    try:
        return path.read_text(errors="replace").strip(" \t\r\n\0")
    except OSError:  # a thermal zone may be there and refuse to be read
        return None


def number_in(path: Path) -> float | None:
    """The number that the file holds."""
    try:
        number = float(text_in(path) or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
