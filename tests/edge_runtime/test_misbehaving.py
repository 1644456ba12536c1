"""Model files that misbehave: scores that are no probabilities, outputs that are not finite, arrays that do not fit."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from spot_edge.classifier import Classifier
from spot_edge.errors import InputError, ModelError
from spot_edge.model.file import seal, verify
from spot_edge.prediction.heatmap import overlay
from spot_edge.prediction.wording import describe


@pytest.fixture
def images(tmp_path: Path, lesion: bytes) -> Path:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.png").write_bytes(lesion)
    return tmp_path / "in"


SCORES = {
    "below zero": [-19.0, 1, 1, 1, 1, 1, 15],
    "above one": [1.5, -0.5, 0, 0, 0, 0, 0],
    "not a number": [float("nan"), 1, 0, 0, 0, 0, 0],
    "infinite": [float("inf"), 0, 0, 0, 0, 0, float("-inf")],
    "all zero": [0, 0, 0, 0, 0, 0, 0],
    "a sum of 1.01": [0.41, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
    "logits": [2.0, 0.1, 0.3, 0.2, 0.5, 0.1, 0.1],
}


@pytest.fixture
def misbehaving(classifier, monkeypatch):
    """misbehaving(scores): the classifier, whose network says these scores."""
    right = classifier._invoke

    def make(scores: list[float]):
        outputs = lambda tensor: right(tensor) | {"scores": np.array(scores, np.float32)}  # noqa: E731
        monkeypatch.setattr(classifier, "_invoke", outputs)
        return classifier

    return make


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_scores_that_are_no_probabilities_are_not_assessed(scores: list[float], misbehaving, lesion) -> None:
    classifier = misbehaving(scores)
    for prediction in (classifier.classify(lesion), classifier.classify_burst([lesion, lesion])):
        assert prediction.misbehaves
        assert (prediction.triage.category, prediction.abstained) == ("cannot assess", True)
        assert prediction.prediction_set is None
        record = json.loads(json.dumps(prediction.as_dict(), allow_nan=False))
        assert {each["score"] for each in record["ranked"]} == {None}
        text = " ".join(describe(prediction, 2).split())
        assert "triage CANNOT ASSESS: the model file misbehaves" in text
        assert "looks most like" not in text
        assert "may be" not in text


@pytest.mark.parametrize("scores", [[1, 0, 0, 0, 0, 0, 0], [0.4006, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]])
def test_scores_that_are_probabilities_up_to_rounding_are_assessed(scores: list[float], misbehaving, lesion) -> None:
    assert not misbehaving(scores).classify(lesion).misbehaves


def test_quantized_scores_may_differ_by_their_steps(classifier, monkeypatch) -> None:
    monkeypatch.setattr("spot_edge.classifier.scores_step", lambda content: 1 / 256)
    seven = np.array([0.41, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], np.float32)
    assert np.isfinite(classifier._checked({"scores": seven})).all()
    seven[0] += 0.01
    assert np.isnan(classifier._checked({"scores": seven})).all()


@pytest.mark.parametrize("output", ["evidence", "embedding"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_not_believed(output: str, odd: float, classifier, monkeypatch, lesion) -> None:
    right = classifier._invoke

    def wrong(tensor: np.ndarray) -> dict[str, np.ndarray]:
        outputs = right(tensor)
        outputs[output].flat[5] = odd
        return outputs

    monkeypatch.setattr(classifier, "_invoke", wrong)
    prepared = classifier.prepare(lesion)
    prediction = classifier.predict(prepared)
    assert prediction.misbehaves
    with pytest.raises(InputError, match="no evidence map"):
        overlay(prepared, prediction)


WRONG_SCORES = """
import numpy as np
from spot_edge.model import interpreter
right = interpreter.Interpreter.invoke
interpreter.Interpreter.invoke = lambda self, tensor: right(self, tensor) | {"scores": np.full(7, -19, np.float32)}
"""


@pytest.mark.parametrize("form", ["--json", "--csv", "--top=2", "--burst=3"])
def test_a_model_that_misbehaves_exits_with_5(form: str, start, images, tmp_path) -> None:
    running = start("classify", images, form, before=WRONG_SCORES)
    output, errors = running.communicate()
    assert running.returncode == 5
    assert b"spot-int8.tflite: the model file misbehaves\n" in errors
    assert b"-19" not in output
    assert not re.search(rb"\bnan\b", output.lower())
    if form == "--csv":
        for row in csv.DictReader(io.StringIO(output.decode())):
            assert (row["triage"], row["top_class"], row["malignant_score"]) == ("cannot assess", "", "")
    else:
        assert output.lower().count(b"cannot assess") == (1 if form == "--burst=3" else 3)


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_a_run_with_a_model_that_misbehaves_can_be_resumed(form: str, start, images, tmp_path) -> None:
    command = ["classify", images, form, "--out", tmp_path / "out", "--heatmap", tmp_path, "--save", tmp_path / "kept"]
    for options in ([], ["--resume"]):
        running = start(*command, *options, before=WRONG_SCORES)
        running.communicate()
        assert running.returncode in ((5,) if not options else (3, 5))
    assert len((tmp_path / "out").read_bytes().splitlines()) == 3 + (form == "--csv")


def test_an_interpreter_that_fails_is_no_failure_of_the_image(images, tmp_path, start) -> None:
    before = """
from spot_edge.model import interpreter
load = interpreter.Interpreter.__init__
class Engine:
    def __init__(self, engine): self.engine = engine
    def __getattr__(self, name): return getattr(self.engine, name)
    def invoke(self): raise RuntimeError("Node number 3 failed to invoke.")
def init(self, *arguments, **options):
    load(self, *arguments, **options)
    self._engine = Engine(self._engine)
interpreter.Interpreter.__init__ = init
"""
    running = start("classify", images, "--json", "--out", tmp_path / "out", before=before)
    _, errors = running.communicate()
    assert running.returncode == 5
    assert errors.count(b"cannot run it: Node number 3 failed to invoke.\n") == 3
    assert b"misbehaves" not in errors  # its file may be fine
    assert (tmp_path / "out").read_bytes() == b""


ARRAYS = {
    "no class": {"means": np.zeros((0, 1280), np.float32)},
    "one number": {"means": np.float32(0)},
    "half a mean": {"means": np.where(np.arange(1280) < 9, np.nan, np.zeros((7, 1280))).astype(np.float32)},
    "infinite means": {"means": np.full((7, 1280), np.inf, np.float32)},
    "too large for 32 bits": {"look_mean": 1e300},
    "an infinite rest": {"rest": np.array(np.inf)},
    "a spread without an end": {"usual": np.inf},
}


@pytest.mark.parametrize("changed", ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_would_fail_later_are_refused_at_once(changed: dict[str, object], model, flatbuffer) -> None:
    """In a file with a correct digest."""
    with np.load(io.BytesIO(model.members["embedding.npz"])) as stored:
        arrays: dict[str, object] = dict(stored)
    for key, value in changed.items():
        whole = np.asarray(arrays[key])
        arrays[key] = np.full(whole.shape, value, np.float64) if isinstance(value, float) else value
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    file = verify(seal(flatbuffer, model.spec, {"embedding.npz": packed.getvalue()}), "m.tflite")
    with pytest.raises(ModelError, match=r"m\.tflite: its embedding\.npz does not hold"):
        Classifier(file)


def test_arrays_of_very_large_numbers_make_no_image_familiar(model, flatbuffer, lesion) -> None:
    with np.load(io.BytesIO(model.members["embedding.npz"])) as stored:
        arrays = dict(stored)
    arrays["means"] = np.full((7, 1280), 3e38, np.float32)
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    classifier = Classifier(verify(seal(flatbuffer, model.spec, {"embedding.npz": packed.getvalue()}), "m"))
    assert "ood" in [finding.check for finding in classifier.classify(lesion).quality]


def outputs_of_the_graph(content: bytes) -> tuple[int, list[int]]:
    """Where the numbers of the graph's outputs stand in a .tflite, and these numbers."""
    from spot_edge.model.flatbuffer import read_root

    (graph,) = read_root(content).tables(2)
    start, count = graph._vector(2)
    return start, list(struct.unpack_from(f"<{count}i", content, start))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_output_of_the_signature_that_is_none_of_the_graph_is_refused(place: int, model, flatbuffer) -> None:
    start, numbers = outputs_of_the_graph(flatbuffer)
    changed = bytearray(flatbuffer)
    struct.pack_into("<i", changed, start + 4 * place, numbers[place - 1])
    with pytest.raises(ModelError, match="does not name the inputs and outputs of its graph"):
        verify(seal(bytes(changed), model.spec, {"embedding.npz": model.members["embedding.npz"]}), "m")
