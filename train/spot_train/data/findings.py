"""How many images and groups each label has, in each part.

What is wrong with a data set, as lines and as records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from spot_bench.data.manifest import Manifest
from spot_bench.report.tables import align

__all__ = ["Balance", "Count", "Finding", "balance_lines", "balance_of", "counted", "finding_lines", "shown"]

_ALL = "all"


@dataclass(frozen=True, slots=True)
class Count:
    """So many images, of so many groups."""

    images: int = 0
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """Counts by label and part; `all` stands for every label, and for every part."""

    labels: tuple[str, ...]
    parts: tuple[str, ...]
    counts: dict[tuple[str, str], Count]

    def of(self, label: str = _ALL, part: str = _ALL) -> Count:
        """The count of one label in one part."""
        return self.counts.get((label, part), Count())

    def as_dict(self) -> dict[str, dict[str, dict[str, int]]]:
        """The JSON form: label, part, images and groups."""
        return {
            label: {
                part: {"images": self.of(label, part).images, "groups": self.of(label, part).groups}
                for part in (_ALL, *self.parts)
            }
            for label in (*self.labels, _ALL)
        }


def balance_of(manifest: Manifest) -> Balance:
    """The counts of `manifest`."""
    images: Counter[tuple[str, str]] = Counter()
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in manifest.items:
        for label in (item.label, _ALL):
            for part in (item.split, _ALL):
                if part is not None:
                    images[label, part] += 1
                    groups[label, part].add(item.group)
    counts = {cell: Count(number, len(groups[cell])) for cell, number in images.items()}
    return Balance(manifest.labels, manifest.parts, counts)


def balance_lines(balance: Balance) -> Iterator[str]:
    """A table: one row a label, images and in brackets groups."""
    total = balance.of().images
    rows = [["label", "share", "images (groups)", *balance.parts]]
    for label in (*balance.labels, _ALL):
        counts = [balance.of(label, part) for part in (_ALL, *balance.parts)]
        share = f"{100 * counts[0].images / total:.1f} %"
        rows.append([label, share, *(f"{count.images} ({count.groups})" for count in counts)])
    yield from align(rows)


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
