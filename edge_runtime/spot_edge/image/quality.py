"""The image quality check: what is wrong with an image, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CHECKS", "OOD", "Check", "Finding", "findings"]


class Check(NamedTuple):
    """A quantity that is measured on every image, and what to say if it is beyond its limit."""

    name: str  # in spot_edge.image.appearance.APPEARANCE, or OOD
    least: bool  # whether the limit is a minimum; else it is a maximum
    problem: str
    advice: str


class Finding(NamedTuple):
    """A check that an image failed: the value, its limit, and what to do."""

    check: str
    value: float
    limit: float
    problem: str
    advice: str


OOD = "ood"
CHECKS = (
    Check("sharpness", True, "blurred", "hold still, focus, and clean the lens"),
    Check("light", True, "too dark", "turn the light on, or make it brighter"),
    Check("white", False, "too bright, or glare", "use less light, press evenly, and clean the lens"),
    Check("black", False, "dark around the edges", "move closer to fill the image"),
    Check("contrast", True, "washed out", "clean the lens, and press less"),
    Check(
        OOD,
        False,
        "unlike the images this model was trained on",
        "check what the camera sees, and take another picture",
    ),
)


def findings(values: Mapping[str, float], limits: Mapping[str, float]) -> tuple[Finding, ...]:
    """Return the checks that an image fails by the limits of its model file.

    `values` holds the features of `appearance_of` by name, and the OOD distance.
    """
    found = []
    for check in CHECKS:
        limit, value = limits.get(check.name), values.get(check.name)
        if limit is None or value is None:
            continue
        if not (value >= limit if check.least else value <= limit):  # NaN fails, too
            found.append(Finding(check.name, value, limit, check.problem, check.advice))
    return tuple(found)
