"""A model whose label set marks no class as malignant: no triage, no medical words, in any output."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spot_edge.classifier import Classifier
from spot_edge.commands.info import info
from spot_edge.commands.screen import Text, ready_text, result_text
from spot_edge.image.source import Source
from spot_edge.model.file import ModelFile, seal, verify
from spot_edge.model.spec import Label
from spot_edge.prediction.prediction import NEUTRAL_NOTICE, Prediction

MEDICAL = ("triage", "lesion", "malignant", "doctor", "diagnosis", "dermatoscope", "assess", "benign")
NAMES = ("circle", "cross", "moon", "ring", "square", "star", "triangle")


@pytest.fixture(scope="module", params=[None, False])
def path(
    request: pytest.FixtureRequest, model: ModelFile, flatbuffer: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The embedded network in a model file for shapes, with limits of image quality."""
    labels = tuple(Label(name, name, malignant=request.param) for name in NAMES)
    changed = {"labels": labels, "operating_points": (), "conformal": None, "drift": None, "notice": "", "training": {}}
    content = seal(
        flatbuffer, model.spec._replace(**changed, name="shapes"), {"embedding.npz": model.members["embedding.npz"]}
    )
    path = tmp_path_factory.mktemp("model") / "shapes.tflite"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def predictions(path: Path, lesion: bytes, draw: Callable[[int, int], np.ndarray]) -> list[Prediction]:
    """The predictions for a good image, for a black one, and for a burst."""
    classifier = Classifier(verify(path.read_bytes(), path.name))
    good, black = Source.frame(lesion, "/dev/video0", 0), np.zeros((300, 400, 3), np.uint8)
    return [classifier.classify(good), classifier.classify(black), classifier.classify_burst([good, good])]


def medical_words(text: str) -> Iterator[str]:
    return (word for word in MEDICAL if word in text.lower())


def test_there_is_no_triage(predictions: list[Prediction]) -> None:
    good, black, burst = predictions
    assert [each.triage for each in predictions] == [None, None, None]
    assert [each.abstained for each in predictions] == [False, True, False]
    assert {finding.problem for finding in black.quality} >= {"too dark"}
    assert good.top.label == burst.top.label


def test_json(path: Path, picture: Path, spot_edge) -> None:
    record = json.loads(spot_edge("classify", picture, "--model", path, "--json").stdout)
    assert (record["triage"], record["abstained"], record["notice"]) == (None, False, NEUTRAL_NOTICE)


def test_csv(path: Path, picture: Path, spot_edge) -> None:
    text = spot_edge("classify", picture, "--model", path, "--csv").stdout.decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["triage"], row["malignant_score"]) == ("", "")
    assert row["top_class"] in NAMES


def test_text(path: Path, picture: Path, encode, spot_edge) -> None:
    (picture.parent / "black.png").write_bytes(encode(np.zeros((300, 400, 3), np.uint8)))
    text = spot_edge("classify", "lesion.png", "black.png", "--model", path, cwd=picture.parent).stdout.decode()
    good, black, notice = text.split("black.png")[0], *text.split("black.png")[1].split("\n\n")
    assert not list(medical_words(good.replace("lesion.png", "")))
    assert notice.strip() == NEUTRAL_NOTICE
    assert "cannot assess" in black
    assert "too dark" in black
    assert "looks most like" not in black


def test_kiosk(predictions: list[Prediction]) -> None:
    good, black, _ = predictions
    texts: list[Text] = [ready_text("shapes", medical=False), result_text(good)]
    for text in texts:
        shown = " ".join(text(78, 24))
        assert not list(medical_words(shown))
        assert NEUTRAL_NOTICE in " ".join(shown.split())
    object.__setattr__(black, "source", good.source)
    assert "too dark" in " ".join(result_text(black)(78, 24))


def test_info(path: Path) -> None:
    text = CliRunner().invoke(info, [str(path)]).output
    assert "operating points" not in text
    assert not list(medical_words(text))
