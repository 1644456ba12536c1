"""A verdict in words, and in JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from spot_convert.kit.check import Finding, Verdict
from spot_convert.kit.vectors import Kit
from spot_edge.errors import one_line

__all__ = ["SCHEMA", "as_dict", "in_short", "lines"]

SCHEMA = 1
_NONE = "none of the usual mistakes explains the answers"


def as_dict(verdict: Verdict, kit: Kit) -> dict[str, Any]:
    """The JSON form."""
    return {
        "schema": SCHEMA,
        "model": kit.model,
        "tolerance": {"score": kit.tolerance_score, "rms": kit.tolerance_rms},
        "conforms": verdict.conforms,
        **asdict(verdict),
    }


def lines(verdict: Verdict, kit: Kit) -> list[str]:
    """The verdict for a terminal."""
    model = kit.model
    about = f"the kit of {model['name']} {model['variant']} ({model['id'][:12]})"
    said = [f"{one_line(verdict.platform) or 'results'}, by {about}"]
    if verdict.other_model is not None:
        said.append(
            f"model    another file: its id is {one_line(verdict.other_model[:12])}; take {model['file']} of this kit"
        )
    for finding in verdict.findings:
        said += _finding_lines(finding, kit)
    return said


def in_short(verdict: Verdict) -> str:
    """What does not conform, in one line."""
    said = ["another model file"] if verdict.other_model is not None else []
    said += [
        f"{finding.part}: {' or '.join(cause.what for cause in finding.causes) or _NONE}"
        for finding in verdict.findings
        if not finding.conforms
    ]
    return "; ".join(said)


def _finding_lines(finding: Finding, kit: Kit) -> list[str]:
    head = f"{finding.part:<8} {finding.images} pictures"
    off = ""
    if finding.largest is not None:
        off = f"scores are off by at most {finding.largest:.3f} ({finding.worst}), {finding.rms:.3f} in the mean square"
    allowed = f"allowed {kit.tolerance_score:.3f} and {kit.tolerance_rms:.3f}"
    if finding.conforms:
        said = [f"{head}: conform", f"{off}; {allowed}"]
    elif not finding.causes:
        said = [f"{head}: {_NONE}", f"{off}; {allowed}"] if off else [f"{head}: {_NONE}"]
        if finding.nearest is not None:
            said.append(f"the nearest, still {finding.nearest.rms:.3f} off: {finding.nearest.what}")
    else:
        first, *others = finding.causes
        said = [f"{head}: {first.what}"]
        said += [f"or, which these answers cannot tell apart: {cause.what}" for cause in others]
        said.append((f"{off}; " if off else "") + f"with this mistake they are {first.rms:.3f} off")
        said += [f"to mend: {mend}" for mend in dict.fromkeys(cause.mend for cause in finding.causes)]
    said += finding.notes
    return [said[0], *(f"         {line}" for line in said[1:])]
