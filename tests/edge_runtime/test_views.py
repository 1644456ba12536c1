"""`views`: the mean over turned and mirrored views of an image, in Python and on the command line."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

from spot_edge.classifier import Classifier
from spot_edge.commands.classify import classify
from spot_edge.commands.kiosk import kiosk
from spot_edge.errors import ModelError
from spot_edge.model.file import ModelFile, seal, verify
from spot_edge.model.interpreter import Interpreter
from spot_edge.model.views import VIEW_COUNTS, Views
from spot_edge.prediction.burst import mean_scores
from spot_edge.prediction.ood import MEMBER
from spot_edge.prediction.prediction import Prediction, prediction_set_of
from spot_edge.prediction.views import mean_of_views, turned, turned_back
from spot_edge.prediction.wording import describe

TEMPERATURE = 0.5
PIXELS = np.arange(16).reshape(4, 4)


@pytest.fixture(scope="module")
def content(model: ModelFile, flatbuffer: bytes) -> bytes:
    """The embedded model, with an entry for 2 and for 8 views."""
    points = tuple(point._replace(threshold=point.threshold / 2) for point in model.spec.operating_points)
    entries = (Views(2, 1.0), Views(8, TEMPERATURE, points, model.spec.conformal))
    return seal(flatbuffer, model.spec._replace(views=entries), {MEMBER: model.members[MEMBER]})


@pytest.fixture(scope="module")
def viewed(content: bytes) -> ModelFile:
    return verify(content, "viewed.tflite")


@pytest.fixture
def file(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "viewed.tflite"
    path.write_bytes(content)
    return path


def scores(prediction: Prediction) -> np.ndarray:
    by_label = {each.label: each.score for each in prediction.ranked}
    return np.array([by_label[label] for label in prediction.labels], np.float32)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values.astype(np.float64) - values.max())
    return powers / powers.sum()


def test_the_order_of_the_views() -> None:
    expected = [
        PIXELS,
        np.fliplr(PIXELS),
        np.rot90(PIXELS, 2),
        np.flipud(PIXELS),
        np.rot90(PIXELS),
        PIXELS[::-1, ::-1].T,
        np.rot90(PIXELS, 3),
        PIXELS.T,
    ]
    for number, view in enumerate(expected):
        np.testing.assert_array_equal(turned(PIXELS, number), view)


@pytest.mark.parametrize("count", VIEW_COUNTS)
def test_the_first_views_are_a_group(count: int) -> None:
    """So an image and each of its views have the same views."""
    views = {turned(PIXELS, number).tobytes() for number in range(count)}
    assert len(views) == count
    for number in range(count):
        again = {turned(turned(PIXELS, number), second).tobytes() for second in range(count)}
        assert again == views


def test_each_view_turned_back_is_the_image() -> None:
    tensor = np.arange(48).reshape(1, 4, 4, 3)
    for number in range(8):
        np.testing.assert_array_equal(turned_back(turned(tensor, number, (1, 2)), number, (1, 2)), tensor)
        np.testing.assert_array_equal(turned_back(turned(tensor[0], number), number), tensor[0])


@pytest.mark.parametrize("count", VIEW_COUNTS)
def test_a_network_that_turns_with_the_image_gives_what_one_view_gives(count: int) -> None:
    """Its evidence is the image itself, so only evidence that is turned back correctly adds up to it."""

    def invoke(tensor: np.ndarray) -> dict[str, np.ndarray]:
        evidence = tensor[0].astype(np.float32)
        scores = softmax(evidence.mean(axis=(0, 1)) / TEMPERATURE).astype(np.float32)
        return {"scores": scores, "evidence": evidence, "embedding": evidence[0, 0]}

    tensor = np.random.default_rng(0).integers(0, 9, (1, 6, 6, 3), np.uint8)
    alone, mean = invoke(tensor), mean_of_views(invoke, count, TEMPERATURE)(tensor)
    np.testing.assert_array_equal(mean["evidence"], alone["evidence"])
    np.testing.assert_allclose(mean["scores"], alone["scores"], rtol=1e-5)
    np.testing.assert_array_equal(mean["embedding"], alone["embedding"])
    assert {key: value.dtype for key, value in mean.items()} == {key: value.dtype for key, value in alone.items()}


def test_scores_that_are_not_finite_stay_so() -> None:
    def invoke(tensor: np.ndarray) -> dict[str, np.ndarray]:
        evidence = np.full((2, 2, 3), np.inf if tensor[0, 0, 0, 0] else 1, np.float32)
        return {"scores": evidence[0, 0], "evidence": evidence, "embedding": evidence[0, 0]}

    tensor = np.zeros((1, 2, 2, 3), np.uint8)
    tensor[0, -1, -1] = 1  # seen at the first place of a turned view
    assert np.isnan(mean_of_views(invoke, 4, 1.0)(tensor)["scores"]).all()


@pytest.mark.parametrize("count", [2, 8])
def test_scores_are_those_of_the_mean_logits(count: int, viewed: ModelFile, draw: Callable[..., np.ndarray]) -> None:
    single, several = Classifier(viewed), Classifier(viewed, views=count)
    prepared = single.prepare(draw(300, 200))
    views = [np.ascontiguousarray(turned(prepared.tensor, number, (1, 2))) for number in range(count)]
    logits = [single.predict(replace(prepared, tensor=view)).evidence.mean(axis=(0, 1)) for view in views]
    alone, prediction = single.predict(prepared), several.predict(prepared)
    temperature = {2: 1.0, 8: TEMPERATURE}[count]
    np.testing.assert_allclose(scores(prediction), softmax(np.mean(logits, axis=0) / temperature), rtol=1e-4)
    np.testing.assert_allclose(prediction.evidence.mean(axis=(0, 1)), np.mean(logits, axis=0), rtol=1e-4)
    assert not np.array_equal(scores(prediction), scores(alone))
    np.testing.assert_array_equal(prediction.embedding, alone.embedding)
    assert prediction.quality == alone.quality
    assert set(prediction.timings_ms) == set(alone.timings_ms)


def test_thresholds_are_those_of_the_views(viewed: ModelFile, draw: Callable[..., np.ndarray]) -> None:
    image, own = draw(300, 200), viewed.spec
    eight = Classifier(viewed, views=8)
    prediction = eight.classify(image)
    assert prediction.triage is not None
    assert prediction.triage.operating_point in own.views[1].operating_points
    assert prediction.prediction_set == prediction_set_of(own, prediction.ranked)
    assert (eight.model.id, eight.model.spec.views) == (viewed.id, own.views)
    two = Classifier(viewed, views=2).classify(image)
    assert two.triage is not None
    assert two.triage.reason == "this model has no measured operating point"
    assert two.prediction_set is None
    assert Classifier(viewed).model is viewed


def test_a_prediction_names_its_views(viewed: ModelFile, draw: Callable[..., np.ndarray]) -> None:
    image = draw(300, 200)
    prediction = Classifier(viewed, views=8).classify(image)
    note = "scores are the mean of 8 turned and mirrored views"
    assert prediction.as_dict()["model"]["views"] == 8
    assert note in prediction.notes
    assert note in describe(prediction, 1)
    alone = Classifier(viewed).classify(image)
    assert set(alone.as_dict()["model"]) == {"name", "variant", "id"}
    assert not any("views" in text for text in alone.notes)


def test_one_view_that_is_not_finite_is_not_assessed(
    viewed: ModelFile, draw: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, calls = Interpreter.invoke, []

    def wrong(self: Interpreter, tensor: np.ndarray) -> dict[str, np.ndarray]:
        calls.append(tensor)
        outputs = right(self, tensor)
        outputs["evidence"] = outputs["evidence"].copy()
        outputs["evidence"].flat[0] = np.nan if len(calls) == 3 else 0
        return outputs

    monkeypatch.setattr(Interpreter, "invoke", wrong)
    classifier, image = Classifier(viewed, views=8), draw(300, 200)
    prediction = classifier.classify(image)
    assert (len(calls), prediction.misbehaves, prediction.abstained) == (8, True, True)
    assert not classifier.classify(image).misbehaves


def test_threads_share_a_classifier_of_views(viewed: ModelFile, draw: Callable[..., np.ndarray]) -> None:
    classifier = Classifier(viewed, views=2)
    prepared = [classifier.prepare(np.roll(draw(120, 90), 20 * turn, axis=1)) for turn in range(4)]
    alone = [scores(classifier.predict(each)).tolist() for each in prepared]
    assert len(set(map(tuple, alone))) == 4
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda turn: scores(classifier.predict(prepared[turn % 4])).tolist(), range(16)))
    assert together == 4 * alone


def test_a_burst_of_views(viewed: ModelFile, draw: Callable[..., np.ndarray]) -> None:
    classifier = Classifier(viewed, views=8)
    frames = [draw(300, 200), draw(200, 300)]
    prediction = classifier.classify_burst(frames)
    expected = mean_scores(np.stack([scores(classifier.classify(frame)) for frame in frames]))
    np.testing.assert_array_equal(scores(prediction), expected)
    assert prediction.triage is not None
    assert prediction.triage.operating_point in viewed.spec.views[1].operating_points
    assert prediction.model["views"] == 8
    assert any("8 turned and mirrored views" in note for note in prediction.notes)
    assert any("mean of 2 images" in note for note in prediction.notes)


def test_a_file_without_these_views_is_refused(model: ModelFile, viewed: ModelFile) -> None:
    with pytest.raises(ModelError) as refused:
        Classifier(viewed, views=4)
    assert str(refused.value) == (
        "viewed.tflite: no temperature and thresholds for 4 views (it has them for 2, 8). Convert it with --views 4"
    )
    with pytest.raises(ModelError, match=r"for 8 views \(it has none\)\. Convert it with --views 8$"):
        Classifier.load(views=8)
    for count in (0, 3, 16):
        with pytest.raises(ValueError, match=f"views must be 1, 2, 4 or 8, not {count}"):
            Classifier(model, views=count)


def test_one_view_imports_nothing_more(python: Callable[..., object]) -> None:
    script = (
        "import sys; from spot_edge import Classifier; import numpy as np\n"
        "Classifier.load().classify(np.zeros((64, 64, 3), np.uint8))\n"
        "sys.exit(any(name.endswith('views') for name in sys.modules if name.startswith('spot_edge')))"
    )
    done = python("-c", script)
    assert done.returncode == 0, done.stderr


def test_the_command_line(spot_edge: Callable[..., object], file: Path, picture: Path, viewed: ModelFile) -> None:
    options = ("classify", picture, picture, "--model", file, "--views", "8")
    expected = Classifier(viewed, views=8).classify(picture)
    record = json.loads(spot_edge(*options, "--json").stdout.splitlines()[0])
    np.testing.assert_allclose([each["score"] for each in record["ranked"]], [each.score for each in expected.ranked])
    assert record["model"] == {"name": "spot", "variant": "int8", "id": viewed.id, "views": 8}
    rows = list(csv.DictReader(io.StringIO(spot_edge(*options, "--csv").stdout.decode())))
    assert [row["model"] for row in rows] == [f"{viewed.id} 8 views"] * 2


@pytest.mark.skipif(os.name != "posix", reason="NOT RUN: POSIX terminals")
def test_the_kiosk(spot_edge: Callable[..., object], file: Path, picture: Path, tmp_path: Path) -> None:
    saved, second = tmp_path / "saved", picture.with_name("second.png")
    second.write_bytes(picture.read_bytes())
    options = ("--model", file, "--views", "8", "--burst", "2", "--save", saved)
    done = spot_edge("kiosk", picture.parent, *options, input=b"\nq\n")
    assert (done.returncode, done.stderr) == (0, b"")
    (record,) = (json.loads(path.read_text()) for path in saved.glob("*.json"))
    assert (record["model"]["views"], record["burst"]["frames"]) == (8, 2)


@pytest.mark.parametrize(("form", "views"), [("--json", "1"), ("--csv", "2")])
def test_a_file_is_not_resumed_with_other_views(
    form: str, views: str, spot_edge: Callable[..., object], file: Path, picture: Path, tmp_path: Path
) -> None:
    out = tmp_path / "predictions"
    options = ("classify", picture, "--model", file, form, "--out", out)
    assert spot_edge(*options, "--views", "8").returncode == 0
    content = out.read_bytes()
    refused = spot_edge(*options, "--resume", "--views", views)
    reason = f"spot-edge: {out}: record 1 is from another number of views: choose another file\n"
    assert (refused.returncode, refused.stderr.decode()) == (6, reason)
    assert out.read_bytes() == content
    assert spot_edge(*options, "--resume", "--views", "8").returncode == 0
    assert out.read_bytes() == content


def test_the_commands_offer_each_possible_number_of_views() -> None:
    """They repeat the numbers, because importing them takes time."""
    for command in (classify, kiosk):
        (option,) = (each for each in command.params if each.name == "views")
        assert isinstance(option.type, click.Choice)
        assert tuple(option.type.choices) == ("1", *map(str, VIEW_COUNTS))


def test_an_impossible_number_of_views(spot_edge: Callable[..., object], picture: Path) -> None:
    wrong = spot_edge("classify", picture, "--views", "3")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    missing = spot_edge("classify", picture, "--views", "8")
    assert (missing.returncode, missing.stderr.count(b"\n")) == (4, 1)
    assert missing.stderr.startswith(b"spot-edge: spot-int8.tflite: no temperature and thresholds for 8 views")


def test_info_shows_the_views(spot_edge: Callable[..., object], file: Path, viewed: ModelFile) -> None:
    text = spot_edge("info", file).stdout.decode()
    assert "\nwith --views 2: temperature 1.000\n" in text
    first = viewed.spec.views[1].operating_points[0]
    lines = text[text.index("with --views 8: temperature 0.500") :].splitlines()
    assert lines[1].split()[:3] == [first.name, "threshold", f"{first.threshold:.3f}:"]
    spec = json.loads(spot_edge("info", file, "--json").stdout)["spec"]
    assert [entry["number"] for entry in spec["views"]] == [2, 8]
