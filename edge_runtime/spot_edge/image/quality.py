"""Whether a picture is fit to be judged: what is wrong with it, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["CHECKS", "OOD", "Check", "Finding", "findings"]


class Check(NamedTuple):
    """Something that is measured on every picture, and what to say where it is beyond its limit."""

    name: str  # of spot_edge.image.appearance.APPEARANCE, or OOD
    least: bool  # whether the limit is the least that is needed, or the most that is allowed
    problem: str
    advice: str


class Finding(NamedTuple):
    """A check that a picture failed: the value, its limit, and what to do."""

    check: str
    value: float
    limit: float
    problem: str
    advice: str


OOD = "ood"
CHECKS = (
    Check("sharpness", True, "blurred", "hold still, focus, and wipe the glass"),
    Check("light", True, "too dark", "switch the instrument's light on, or give more of it"),
    Check("white", False, "too bright, or glare", "give less light, press evenly, and wipe the glass"),
    Check("black", False, "dark around", "move closer, until the lesion fills the picture"),
    Check("contrast", True, "washed out", "wipe the glass, and press less"),
    Check(OOD, False, "unlike the pictures this model knows", "take a dermatoscope's picture of one lesion"),
)


def findings(values: Mapping[str, float], limits: Mapping[str, float]) -> tuple[Finding, ...]:
    """What is wrong with an image by the limits of its model file; `values` as in `appearance_of`, and the OOD distance."""
    found = []
    for check in CHECKS:
        limit, value = limits.get(check.name), values.get(check.name)
        if limit is None or value is None:
            continue
        if not (value >= limit if check.least else value <= limit):  # what is no number is no good either
            found.append(Finding(check.name, value, limit, check.problem, check.advice))
    return tuple(found)
