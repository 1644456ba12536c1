"""The self-test: classify a drawn lesion in a subprocess, and check that the scores can be right."""

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

__all__ = ["EQUAL", "EXPECTED", "TIMEOUT", "Expected", "SelfTest", "assess", "read_expected", "run_selftest"]

EXPECTED = Path(__file__).parent.parent / "models" / "drawn-answer.json"
TIMEOUT = 120.0  # seconds: an emulated Pi takes ten

# An interpreter that rounds differently changes the scores of this image by up to 0.04, wrong kernels by 0.9.
EQUAL, _WRONG = 0.001, 0.2
_SUM = 1e-3  # how far the sum of the scores may be from one
_KILLED = 9  # the signal that a system out of memory sends


@dataclass(frozen=True, slots=True)
class Expected:
    """The embedded model's scores for the drawn lesion, in the interpreter its figures were measured in."""

    model: str
    runtime: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The result of the self-test: timings, or the step that failed."""

    error: SpotError | None = None
    step: str | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    median_ms: float | None = None
    runs: int = 0
    away: float | None = None  # largest difference from the expected scores; None if there are none for this model
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether it finished with scores that can be right."""
        return self.error is None and self.median_ms is not None


def run_selftest(path: str | None) -> SelfTest:
    """Classify the drawn lesion with the model at `path` (default: the embedded one)."""
    return assess(run_isolated(try_model, path, timeout=TIMEOUT), read_expected())


def read_expected(path: Path = EXPECTED) -> Expected | None:
    """The expected scores, or None if this build has none."""
    try:
        return Expected(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def assess(outcome: Outcome, expected: Expected | None) -> SelfTest:
    """Turn the subprocess's records and its end into a result."""
    last = outcome.records[-1] if outcome.records else {}
    if "scores" not in last:
        steps = [record for record in outcome.records if "step" in record]
        step = steps[-1] if steps else {"step": "start Python"}
        return SelfTest(_error(outcome, step, last), step["step"])
    first, *took = last["took_ms"]
    away = _distance(last, expected)
    notes = list(last["notes"])
    if expected and away and EQUAL < away <= _WRONG and last["runtime"] == expected.runtime:
        notes.append(
            f"self-test: scores differ by up to {away:.3f} from the expected ones: this version of {expected.runtime} "
            "rounds differently, so the model's figures may not hold. Install the version they were measured in"
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
    for known in (ModelError, InterpreterError):
        if last.get("code") == known.exit_code:
            return known(last["error"])
    package = step.get("package")
    reason = last.get("error") or outcome.reason or "exited without a result"
    kind = CheckError if package in (None, "numpy", "pillow") else InterpreterError
    return kind(f"self-test: {reason} at '{step['step']}': {_advice(outcome, package)}")


def _advice(outcome: Outcome, package: str | None) -> str:
    if outcome.signal == _KILLED:
        return "memory may have run out. Close other programs and try again"
    if outcome.timed_out:
        return "close other programs and try again"
    if package is None:
        return "please report this"
    if outcome.signal:
        return f"this build of {package} may not support this processor. Install another version"
    return f"reinstall {package} (docs/how-to/install.md)"


def _wrong(last: Mapping[str, Any], away: float | None) -> CheckError | None:
    """Why the scores cannot be right, or None."""
    first, second = last["scores"]
    reason = None
    if not all(math.isfinite(score) for score in first.values()):
        reason = "scores are not finite"
    elif abs(sum(first.values()) - 1) > _SUM:
        reason = f"scores add up to {sum(first.values()):.3f} instead of 1"
    elif first != second:
        reason = "the same image got different scores"
    elif away is not None and away > _WRONG:
        reason = f"wrong scores for a known image (up to {away:.2f} away)"
    return CheckError(f"self-test: {reason}: install another version of {last['runtime']}") if reason else None


def _distance(last: Mapping[str, Any], expected: Expected | None) -> float | None:
    """The largest difference from the expected scores. None if there are none, or scores are not finite."""
    scores: dict[str, float] = last["scores"][0]
    if expected is None or expected.model != last["model"] or not all(map(math.isfinite, scores.values())):
        return None
    return max(abs(score - expected.scores[label]) for label, score in scores.items())
