"""The margins of the drift gate: how much worse a file may be, one by one or as a preset with a meaning.

A preset is a choice for a purpose. For 1,000 patients or images it means:

- `screening` (does a lesion need to be seen?): at most 15 of 1,000 malignant lesions lose their malignant top class,
  and at most 50 of 1,000 lesions outside the most frequent class change their top class.
- `strict` (replaces a file that is in use): at most 5 of 1,000 malignant lesions lose it, and at most 20 of 1,000 top
  classes change; the other margins are half as wide as usual.
- `any-images` (no malignant classes): the usual margins without those on malignancy: at most 10 of 1,000 images are
  lost, counting every class equally.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from spot_edge.errors import DataError

__all__ = ["NOT_ASKED", "PRESETS", "Margins", "margins_from", "resolved"]

NOT_ASKED = 1.0  # a margin that no file exceeds: its criterion is left out
_ADDED: dict[str, Any] = {"omit_default": True}  # added after the first recipes were hashed


@dataclass(frozen=True, slots=True)
class Margins:
    """How much worse than its baseline a file may be, and on which images: the table `[gate]` of a recipe."""

    balanced_accuracy: float = 0.01
    recall: dict[str, float] = field(default_factory=dict)  # by class; if empty, 0.015 for melanoma
    agreement: float = 0.95  # of the top classes, without the most frequent class
    ece: float = 0.01
    macro_auc: float = 0.01
    # of malignant lesions with a malignant top class; 1: not asked
    malignant_recall: float = field(default=NOT_ASKED, metadata=_ADDED)
    preset: str = field(default="", metadata=_ADDED)  # replaces all margins: screening, strict or any-images
    data: tuple[str, ...] = field(default=(), metadata=_ADDED)  # names of further labelled images that the gate uses
    unlabelled: tuple[str, ...] = field(default=(), metadata=_ADDED)  # and of images for the criterion on flips alone


PRESETS: Mapping[str, Margins] = {
    "screening": Margins(NOT_ASKED, {}, 0.95, 0.01, 0.01, 0.015, "screening"),
    "strict": Margins(0.005, {}, 0.98, 0.005, 0.005, 0.005, "strict"),
    "any-images": Margins(0.01, {}, 0.95, 0.01, 0.01, NOT_ASKED, "any-images"),
}
_NAMES = ("data", "unlabelled")


def margins_from(table: Any, where: str) -> Margins:
    """Read a recipe's table `[gate]`; raise DataError for an unknown key or a value not from 0 to 1.

    A table with `preset` sets no margin of its own, except by repeating a default as complete recipes do.
    """
    known = [field.name for field in fields(Margins)]
    if not isinstance(table, dict) or not set(table) <= set(known):
        raise DataError(f"{where}: gate must be a table of {', '.join(known)}")
    texts = {"preset", *_NAMES}
    recall = table.get("recall", {})
    shares = [
        *(value for key, value in table.items() if key != "recall" and key not in texts),
        *(dict(recall).values()),
    ]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1 for value in shares):
        raise DataError(f"{where}: the margins of gate must be numbers from 0 to 1")
    named = {key: table.get(key, ()) for key in _NAMES}
    for key, names in named.items():
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) and name for name in names):
            raise DataError(f"{where}: gate.{key} must be a list of names. The command line says where each one is")
    twice = set(named["data"]) & set(named["unlabelled"])
    if twice:
        raise DataError(f"{where}: gate names {min(twice)!r} both as labelled and as unlabelled images")
    margins = Margins(**{**table, **{key: tuple(names) for key, names in named.items()}})
    resolved(margins, where)
    return margins


def resolved(margins: Margins, where: str = "gate") -> Margins:
    """Return the margins of the preset that `margins` names, on the same images; without a preset, `margins`."""
    if not margins.preset:
        return margins
    if margins.preset not in PRESETS:
        raise DataError(f"{where}: no preset {margins.preset!r}. The presets are {', '.join(PRESETS)}")
    chosen = PRESETS[margins.preset]
    for name in (f.name for f in fields(Margins) if f.name not in ("preset", *_NAMES)):
        if getattr(margins, name) not in (getattr(Margins(), name), getattr(chosen, name)):
            raise DataError(f"{where}: the preset {margins.preset} sets {name}. Remove one of the two")
    return replace(chosen, data=margins.data, unlabelled=margins.unlabelled)
