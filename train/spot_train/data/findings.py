"""What is wrong with a data set, as lines and as records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Finding", "counted", "finding_lines", "shown"]

MOST_WARNINGS = 20  # of one kind that are printed; the JSON form has them all
_MOST_NAMES = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: an error, which training would trip or cheat over, or a warning."""

    severity: Literal["error", "warning"]
    kind: str
    text: str
    images: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"severity": self.severity, "kind": self.kind, "text": self.text, "images": list(self.images)}


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """One line a finding: every error, then of each kind of warning the first ones."""
    for finding in findings:
        if finding.severity == "error":
            yield f"error: {finding.text}"
    warnings = [finding for finding in findings if finding.severity == "warning"]
    for kind in dict.fromkeys(finding.kind for finding in warnings):
        of_kind = [finding for finding in warnings if finding.kind == kind]
        yield from (f"warning: {finding.text}" for finding in of_kind[:MOST_WARNINGS])
        if len(of_kind) > MOST_WARNINGS:
            yield f"warning: {kind}: {len(of_kind) - MOST_WARNINGS} more of these; --json lists them all"


def shown(names: Sequence[str]) -> str:
    """A few names out of many."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def counted(number: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {what}{'s' * (number != 1)}"
