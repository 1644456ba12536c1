"""The self-test: a drawn lesion classified in a process of its own, and whether what came out can be right."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spot_edge.doctor.trial import try_model
from spot_edge.errors import CheckError, InterpreterError, ModelError, SpotError
from spot_edge.isolated import Outcome, run_isolated

__all__ = ["ANSWER", "EQUAL", "TIMEOUT", "Answer", "SelfTest", "assess", "read_expected", "run_selftest"]

ANSWER = Path(__file__).parent.parent / "models" / "drawn-answer.json"
TIMEOUT = 120.0  # seconds: an emulated Pi takes ten

# An interpreter that rounds elsewhere moves this picture's scores by up to 0.04, wrong kernels by 0.9.
EQUAL, _WRONG = 0.001, 0.2
_SUM = 1e-3  # by which scores may miss one
_KILLED = 9  # the signal with which a system out of memory ends a process


@dataclass(frozen=True, slots=True)
class Answer:
    """What the embedded model says to the drawn lesion where its figures were measured."""

    model: str
    runtime: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """How the self-test went: times where it came that far, else the step at which it outcome."""

    error: SpotError | None = None
    step: str | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    median_ms: float | None = None
    runs: int = 0
    away: float | None = None  # how far a score is from the kept answer's, at most; None where none is kept
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it came to its end, with an answer that can be right."""
        return self.error is None and self.median_ms is not None


def run_selftest(path: str | None) -> SelfTest:
    """Classify with the model at `path` (default: the embedded one), as `classify` would."""
    return assess(run_isolated(try_model, path, timeout=TIMEOUT), read_expected())


def read_expected(path: Path = ANSWER) -> Answer | None:
    """The kept answer; None where this build has none."""
    try:
        return Answer(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def assess(outcome: Outcome, kept: Answer | None) -> SelfTest:
    """What the child's records and its end mean."""
    last = outcome.records[-1] if outcome.records else {}
    if "scores" not in last:
        steps = [record for record in outcome.records if "step" in record]
        step = steps[-1] if steps else {"step": "start Python"}
        return SelfTest(_error(outcome, step, last), step["step"])
    first, *took = last["took_ms"]
    away = _distance(last, kept)
    notes = list(last["notes"])
    if kept and away and EQUAL < away <= _WRONG and last["runtime"] == kept.runtime:
        notes.append(
            f"self-test: scores up to {away:.3f} away from those that were measured: this version of {kept.runtime} "
            "rounds elsewhere, and the model's figures may not hold: install the version that they were measured in"
        )
    return SelfTest(
        error=_wrong(last, away),
        load_ms=last["load_ms"],
        first_ms=first,
        median_ms=statistics.median(took),
        runs=len(took),
        away=away,
        notes=tuple(notes),
    )


def _error(outcome: Outcome, step: Mapping[str, Any], last: Mapping[str, Any]) -> SpotError:
    """Why there are no scores."""
    for told in (ModelError, InterpreterError):
        if last.get("code") == told.exit_code:
            return told(last["error"])
    package = step.get("package")
    said = last.get("error") or outcome.reason or "exited without a result"
    kind = CheckError if package in (None, "numpy", "pillow") else InterpreterError
    return kind(f"self-test: {said} at '{step['step']}': {_advice(outcome, package)}")


def _advice(outcome: Outcome, package: str | None) -> str:
    if outcome.signal == _KILLED:
        return "memory may have run out: end other programs and try again"
    if outcome.timed_out:
        return "end other programs and try again"
    if package is None:
        return "please report it"
    if outcome.signal:
        return f"this build of {package} may not fit this processor: install another version of it"
    return f"install {package} again, as docs/install.md says"


def _wrong(last: Mapping[str, Any], away: float | None) -> CheckError | None:
    """What cannot be right about the scores."""
    first, second = last["scores"]
    said = None
    if not all(math.isfinite(score) for score in first.values()):
        said = "scores that are no numbers"
    elif abs(sum(first.values()) - 1) > _SUM:
        said = f"scores that add up to {sum(first.values()):.3f} and not to 1"
    elif first != second:
        said = "two answers to the same picture"
    elif away is not None and away > _WRONG:
        said = f"a wrong answer to a known picture (scores up to {away:.2f} away)"
    return CheckError(f"self-test: {said}: install another version of {last['runtime']}") if said else None


def _distance(last: Mapping[str, Any], kept: Answer | None) -> float | None:
    """How far a score is from the kept one, at most; None where none is kept for this model, or it is no number."""
    scores: dict[str, float] = last["scores"][0]
    if kept is None or kept.model != last["model"] or not all(map(math.isfinite, scores.values())):
        return None
    return max(abs(score - kept.scores[label]) for label, score in scores.items())
