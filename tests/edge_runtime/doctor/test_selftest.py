"""The self-test: how it reports the end of a subprocess, which scores count as wrong, and the expected scores."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from spot_edge.doctor.selftest import EXPECTED, Expected, SelfTest, assess, read_expected, run_selftest
from spot_edge.doctor.trial import draw
from spot_edge.errors import CheckError, InterpreterError, ModelError
from spot_edge.isolated import Outcome, run_isolated
from spot_edge.model.interpreter import installed_runtimes

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
SCORES = {"a": 0.7, "b": 0.3}
REFERENCE = Expected("id", "ai-edge-litert", SCORES)
GOOD = {
    "model": "id",
    "runtime": "ai-edge-litert",
    "scores": [SCORES, SCORES],
    "notes": [],
    "load_ms": 1.0,
    "took_ms": [9.0, 2.0, 4.0, 3.0],
}


def test_no_python_to_start(monkeypatch) -> None:
    monkeypatch.setattr("sys.executable", "/missing/python")
    outcome = run_isolated(divmod, 1, 1, timeout=1)
    assert outcome.reason.startswith("could not start: ")
    found = assess(outcome, None)
    assert (found.step, found.passed) == ("start Python", False)
    assert "could not start" in str(found.error)


def test_good_scores() -> None:
    found = assess(Outcome([{"step": "classify"}, GOOD]), REFERENCE)
    assert found == SelfTest(None, None, 1.0, 9.0, 3.0, 3, 0.0, ())
    assert found.passed


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([{"a": math.nan, "b": 0.3}] * 2, "scores are not finite"),
        ([{"a": math.inf, "b": 0.3}] * 2, "scores are not finite"),
        ([{"a": 0.7, "b": 0.4}] * 2, "scores add up to 1.100 instead of 1"),
        ([SCORES, {"a": 0.6, "b": 0.4}], "the same image got different scores"),
        ([{"a": 0.3, "b": 0.7}] * 2, "wrong scores for a known image (up to 0.40 away)"),
    ],
)
def test_wrong_scores(scores: list[dict[str, float]], message: str) -> None:
    found = assess(Outcome([GOOD | {"scores": scores}]), REFERENCE)
    assert isinstance(found.error, CheckError)
    assert str(found.error) == f"self-test: {message}: install another version of ai-edge-litert"
    assert not found.passed


@pytest.mark.parametrize(("runtime", "notes"), [("ai-edge-litert", 1), ("tflite-runtime", 0)])
def test_scores_rounded_differently_are_at_most_a_note(runtime: str, notes: int) -> None:
    found = assess(Outcome([GOOD | {"scores": [{"a": 0.66, "b": 0.34}] * 2, "runtime": runtime}]), REFERENCE)
    assert found.passed
    assert found.away == pytest.approx(0.04)
    assert len(found.notes) == notes


@pytest.mark.parametrize("expected", [None, replace(REFERENCE, model="another")])
def test_another_model_has_no_expected_scores(expected: Expected | None) -> None:
    found = assess(Outcome([GOOD | {"scores": [{"a": 0.3, "b": 0.7}] * 2}]), expected)
    assert (found.passed, found.away) == (True, None)


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (Outcome([{"step": "load the model", "package": "x"}], "crashed with signal 4 (illegal instruction)", 4),
         InterpreterError, "at 'load the model': this build of x may not support this processor. Install"),
        (Outcome([{"step": "import numpy", "package": "numpy"}], "crashed with signal 4 (illegal instruction)", 4),
         CheckError, "at 'import numpy': this build of numpy may not support this processor"),
        (Outcome([{"step": "classify", "package": "x"}], "crashed with signal 9 (killed)", 9),
         InterpreterError, "memory may have run out. Close other programs"),
        (Outcome([{"step": "classify", "package": "x"}], "did not finish within 120 s", timed_out=True),
         InterpreterError, "did not finish within 120 s at 'classify': close other programs and try again"),
        (Outcome([{"step": "read the model"}, {"error": "a: damaged", "code": 4}]), ModelError, "a: damaged"),
        (Outcome([{"step": "classify", "package": "x"}, {"error": "TypeError: y", "code": None}]),
         InterpreterError, "self-test: TypeError: y at 'classify': reinstall x"),
        (Outcome([{"step": "write and read a JPEG", "package": "pillow"}, {"error": "bytes: no decoder", "code": 3}]),
         CheckError, "self-test: bytes: no decoder at 'write and read a JPEG': reinstall pillow"),
        (Outcome(), CheckError, "self-test: exited without a result at 'start Python': please report this"),
    ],
)  # fmt: skip
def test_an_end_before_the_result(outcome: Outcome, kind: type[Exception], message: str) -> None:
    found = assess(outcome, REFERENCE)
    assert type(found.error) is kind
    assert message in str(found.error)
    assert (found.passed, found.median_ms) == (False, None)


def test_the_image_is_drawn_the_same_everywhere() -> None:
    assert hashlib.sha256(draw().tobytes()).hexdigest()[:16] == "e720c14d3062fbee"


def test_the_expected_scores_are_the_embedded_model_s(model, classifier) -> None:
    """If the embedded model was renewed, this fails and prints the new scores to store."""
    expected = read_expected()
    prediction = classifier.classify(draw())
    new = {
        "model": model.id,
        "runtime": prediction.runtime.name,
        "scores": {score.label: round(score.score, 6) for score in prediction.ranked},
    }
    hint = f"put this into {EXPECTED.name}, as LiteRT scores on x86-64:\n{json.dumps(new, indent=2)}"
    assert expected is not None, hint
    assert expected.model == model.id, hint
    assert expected.runtime == model.spec.measured_in.runtime
    away = max(abs(score.score - expected.scores[score.label]) for score in prediction.ranked)
    assert away < (1e-5 if installed_runtimes()[0] == expected.runtime else 0.2), hint


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"model": "a"}'])
def test_a_build_without_expected_scores(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "expected.json"
    if content is not None:
        path.write_text(content)
    assert read_expected(path) is None


def test_a_missing_model() -> None:
    found = run_selftest("/missing/model.tflite")
    assert isinstance(found.error, ModelError)
    assert found.step == "read the model"
