"""The results of a data check: images and groups per label and split, and findings, as text and as JSON."""

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
    """A number of images and of the groups they come from."""

    images: int = 0
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """Counts by label and split. The name `all` stands for all labels, or all splits."""

    labels: tuple[str, ...]
    splits: tuple[str, ...]
    counts: dict[tuple[str, str], Count]

    def of(self, label: str = _ALL, split: str = _ALL) -> Count:
        """Return the count of one label in one split."""
        return self.counts.get((label, split), Count())

    def as_dict(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return the JSON form: images and groups by label and split."""
        return {
            label: {
                split: {"images": self.of(label, split).images, "groups": self.of(label, split).groups}
                for split in (_ALL, *self.splits)
            }
            for label in (*self.labels, _ALL)
        }


def balance_of(manifest: Manifest) -> Balance:
    """Count the images and groups of `manifest`."""
    images: Counter[tuple[str, str]] = Counter()
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in manifest.items:
        for label in (item.label, _ALL):
            for split in (item.split, _ALL):
                if split is not None:
                    images[label, split] += 1
                    groups[label, split].add(item.group)
    counts = {cell: Count(number, len(groups[cell])) for cell, number in images.items()}
    return Balance(manifest.labels, manifest.splits, counts)


def balance_lines(balance: Balance) -> Iterator[str]:
    """Yield a table with one row per label: images, and groups in brackets."""
    total = balance.of().images
    rows = [["label", "share", "images (groups)", *balance.splits]]
    for label in (*balance.labels, _ALL):
        counts = [balance.of(label, split) for split in (_ALL, *balance.splits)]
        share = f"{100 * counts[0].images / total:.1f} %"
        rows.append([label, share, *(f"{count.images} ({count.groups})" for count in counts)])
    yield from align(rows)


MOST_WARNINGS = 20  # of one kind to print; JSON has all of them
_MOST_NAMES = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a data set: an error, which would break training or make its metrics wrong, or a warning."""

    severity: Literal["error", "warning"]
    kind: str
    text: str
    images: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"severity": self.severity, "kind": self.kind, "text": self.text, "images": list(self.images)}


def finding_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield one line per finding: every error, then the first warnings of each kind."""
    for finding in findings:
        if finding.severity == "error":
            yield f"error: {finding.text}"
    warnings = [finding for finding in findings if finding.severity == "warning"]
    for kind in dict.fromkeys(finding.kind for finding in warnings):
        of_kind = [finding for finding in warnings if finding.kind == kind]
        yield from (f"warning: {finding.text}" for finding in of_kind[:MOST_WARNINGS])
        if len(of_kind) > MOST_WARNINGS:
            yield f"warning: {kind}: {len(of_kind) - MOST_WARNINGS} more; --json lists them all"


def shown(names: Sequence[str]) -> str:
    """Join the first few names, and the number of the others."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 image`, `2 images`."""
    return f"{number} {what}{'s' * (number != 1)}"
