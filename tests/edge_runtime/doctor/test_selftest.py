"""The self-test: how a process's end is told, what is taken for a wrong answer, and the answer that is kept."""

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
KEPT = Expected("id", "ai-edge-litert", SCORES)
WELL = {
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


def test_a_good_answer() -> None:
    found = assess(Outcome([{"step": "classify"}, WELL]), KEPT)
    assert found == SelfTest(None, None, 1.0, 9.0, 3.0, 3, 0.0, ())
    assert found.passed


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([{"a": math.nan, "b": 0.3}] * 2, "scores are not finite"),
        ([{"a": math.inf, "b": 0.3}] * 2, "scores are not finite"),
        ([{"a": 0.7, "b": 0.4}] * 2, "scores add up to 1.100 instead of 1"),
        ([SCORES, {"a": 0.6, "b": 0.4}], "the same image got different scores"),
        ([{"a": 0.3, "b": 0.7}] * 2, "wrong scores for a known image (up to 0.40 away)"),
    ],
)
def test_a_wrong_answer(scores: list[dict[str, float]], said: str) -> None:
    found = assess(Outcome([WELL | {"scores": scores}]), KEPT)
    assert isinstance(found.error, CheckError)
    assert str(found.error) == f"self-test: {said}: install another version of ai-edge-litert"
    assert not found.passed


@pytest.mark.parametrize(("runtime", "notes"), [("ai-edge-litert", 1), ("tflite-runtime", 0)])
def test_an_answer_that_was_rounded_elsewhere_is_a_note_at_most(runtime: str, notes: int) -> None:
    found = assess(Outcome([WELL | {"scores": [{"a": 0.66, "b": 0.34}] * 2, "runtime": runtime}]), KEPT)
    assert found.passed
    assert found.away == pytest.approx(0.04)
    assert len(found.notes) == notes


@pytest.mark.parametrize("kept", [None, replace(KEPT, model="another")])
def test_another_model_s_answer_is_not_known(kept: Expected | None) -> None:
    found = assess(Outcome([WELL | {"scores": [{"a": 0.3, "b": 0.7}] * 2}]), kept)
    assert (found.passed, found.away) == (True, None)


@pytest.mark.parametrize(
    ("outcome", "kind", "said"),
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
def test_an_end_before_the_answer(outcome: Outcome, kind: type[Exception], said: str) -> None:
    found = assess(outcome, KEPT)
    assert type(found.error) is kind
    assert said in str(found.error)
    assert (found.passed, found.median_ms) == (False, None)


def test_the_image_is_drawn_the_same_everywhere() -> None:
    assert hashlib.sha256(draw().tobytes()).hexdigest()[:16] == "e720c14d3062fbee"


def test_the_expected_scores_is_the_embedded_model_s(model, classifier) -> None:
    """Where it is not, because the embedded model was renewed: the new answer is printed, to be put in its place."""
    kept = read_expected()
    answer = classifier.classify(draw())
    new = {
        "model": model.id,
        "runtime": answer.runtime.name,
        "scores": {score.label: round(score.score, 6) for score in answer.ranked},
    }
    renew = f"put this into {EXPECTED.name}, as LiteRT answers on x86-64:\n{json.dumps(new, indent=2)}"
    assert kept is not None, renew
    assert kept.model == model.id, renew
    assert kept.runtime == model.spec.measured_in.runtime
    away = max(abs(score.score - kept.scores[score.label]) for score in answer.ranked)
    assert away < (1e-5 if installed_runtimes()[0] == kept.runtime else 0.2), renew


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"model": "a"}'])
def test_a_build_without_an_answer(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "answer.json"
    if content is not None:
        path.write_text(content)
    assert read_expected(path) is None


def test_a_model_that_is_not_there() -> None:
    found = run_selftest("/missing/model.tflite")
    assert isinstance(found.error, ModelError)
    assert found.step == "read the model"
