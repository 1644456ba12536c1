"""Temperature and thresholds for the mean over several views of an image: a part of `spot.json` that few files have.

In a module of its own, because to define a named tuple takes most of a million instructions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from spot_edge.errors import ModelError

if TYPE_CHECKING:
    from spot_edge.model.file import ModelFile
    from spot_edge.model.spec import Conformal, OperatingPoint

__all__ = ["VIEW_COUNTS", "Views", "with_views"]

VIEW_COUNTS = (2, 4, 8)


class Views(NamedTuple):
    """What replaces the file's own temperature and thresholds for the mean over `number` views of an image."""

    number: int  # one of VIEW_COUNTS
    temperature: float
    operating_points: tuple[OperatingPoint, ...] = ()
    conformal: Conformal | None = None


def with_views(model: ModelFile, count: int) -> ModelFile:
    """`model` with its temperature and thresholds for `count` views. Raises ModelError if the file has none."""
    if count not in VIEW_COUNTS:
        raise ValueError(f"views must be 1, 2, 4 or 8, not {count!r}")
    entries = {entry.number: entry for entry in model.spec.views}
    if count not in entries:
        known = f"has them for {', '.join(map(str, entries))}" if entries else "has none"
        raise ModelError(
            f"{model.name}: no temperature and thresholds for {count} views (it {known}). Convert it with "
            f"--views {count}"
        )
    _, temperature, points, conformal = entries[count]
    spec = model.spec._replace(temperature=temperature, operating_points=points, conformal=conformal)
    return replace(model, spec=spec)
