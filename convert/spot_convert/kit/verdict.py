"""The verdict on an app, and its text and JSON forms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from spot_convert.kit.vectors import Kit
from spot_edge.errors import one_line

__all__ = ["SCHEMA", "Cause", "Finding", "Verdict", "as_dict", "in_short", "lines"]

SCHEMA = 1
_NONE = "no common mistake explains the scores"


@dataclass(frozen=True, slots=True)
class Cause:
    """A mistake that explains an app's scores, and how to fix it."""

    mistake: str
    what: str
    fix: str
    rms: float | None = None  # difference of the scores from those expected with this mistake


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of checking one of the kit's folders."""

    folder: str
    images: int
    conforms: bool
    causes: tuple[Cause, ...]  # several if they are indistinguishable; empty if no common mistake explains the scores
    largest: float | None  # difference of any score from the correct one; None if the number of scores is wrong
    rms: float | None
    worst: str | None  # image and label of the largest difference
    nearest: Cause | None = None  # the nearest mistake, if none explains the scores
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict: an app conforms if it uses the kit's model file and its results for every folder conform."""

    platform: str
    other_model: str | None  # the id that the app reports, if it is not the kit's
    findings: tuple[Finding, ...]

    @property
    def conforms(self) -> bool:
        return self.other_model is None and all(finding.conforms for finding in self.findings)


def as_dict(verdict: Verdict, kit: Kit) -> dict[str, Any]:
    """Return the JSON form."""
    stills = {"stills": _still_tolerance(kit)} if kit.stills else {}
    return {
        "schema": SCHEMA,
        "model": kit.model,
        "tolerance": {"score": kit.tolerance_score, "rms": kit.tolerance_rms, **stills},
        "conforms": verdict.conforms,
        **asdict(verdict),
    }


def lines(verdict: Verdict, kit: Kit) -> list[str]:
    """Return the verdict as lines for a terminal."""
    model = kit.model
    about = f"the kit of {model['name']} {model['variant']} ({model['id'][:12]})"
    found = [f"{one_line(verdict.platform) or 'results'}, checked against {about}"]
    if verdict.other_model is not None:
        other = one_line(verdict.other_model[:12])
        found.append(f"model    the app used another file, with id {other}: use {model['file']} of this kit")
    for finding in verdict.findings:
        found += _finding_lines(finding, kit)
    return found


def in_short(verdict: Verdict) -> str:
    """Return what does not conform, in one line."""
    found = ["another model file"] if verdict.other_model is not None else []
    found += [
        f"{finding.folder}: {' or '.join(cause.what for cause in finding.causes) or _NONE}"
        for finding in verdict.findings
        if not finding.conforms
    ]
    return "; ".join(found)


def _still_tolerance(kit: Kit) -> float:
    return max(still.tolerance for still in kit.stills)


def _finding_lines(finding: Finding, kit: Kit) -> list[str]:
    head = f"{finding.folder:<8} {finding.images} images"
    off = ""
    if finding.largest is not None:
        off = f"largest difference {finding.largest:.3f} ({finding.worst}), root mean square {finding.rms:.3f}"
    allowed = f"allowed {kit.tolerance_score:.3f} and {kit.tolerance_rms:.3f}"
    if finding.folder == "stills":
        allowed = f"allowed for a score {_still_tolerance(kit):.3f}"
    if finding.conforms:
        found = [f"{head}: conform", f"{off}; {allowed}"]
    elif not finding.causes:
        found = [f"{head}: {_NONE}", f"{off}; {allowed}"] if off else [f"{head}: {_NONE}"]
        if finding.nearest is not None:
            found.append(f"nearest, with a difference of {finding.nearest.rms:.3f}: {finding.nearest.what}")
    else:
        first, *others = finding.causes
        found = [f"{head}: {first.what}"]
        found += [f"or, equally likely from these scores: {cause.what}" for cause in others]
        found.append((f"{off}; " if off else "") + f"assuming this mistake, root mean square {first.rms:.3f}")
        found += [f"fix: {fix}" for fix in dict.fromkeys(cause.fix for cause in finding.causes)]
    found += finding.notes
    return [found[0], *(f"         {line}" for line in found[1:])]
