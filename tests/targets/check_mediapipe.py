"""MediaPipe's ImageClassifier on the embedded model: the same ranking and scores as ours, given the same input.

Run by tests/targets/run.sh in an environment of its own.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import mediapipe
import numpy as np
import pytest
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

from spot_edge import Classifier

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("drawn-*.jpg"))


@pytest.fixture(scope="module")
def theirs() -> ImageClassifier:
    content = (resources.files("spot_edge") / "models" / "spot-int8.tflite").read_bytes()
    return ImageClassifier.create_from_options(ImageClassifierOptions(BaseOptions(model_asset_buffer=content)))


def test_there_are_pictures_to_compare() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_same_input_gets_the_same_answer(theirs: ImageClassifier, path: Path) -> None:
    ours = Classifier.load(threads=1)
    prepared = ours.prepare(path)
    ranked = ours.judge(prepared).ranked
    image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(prepared.tensor[0]))
    found = theirs.classify(image).classifications[0].categories
    assert len(found) == len(ranked) == 7
    scores = {category.category_name: category.score for category in found}
    assert set(scores) == {score.label for score in ranked}
    assert max(abs(scores[score.label] - score.score) for score in ranked) <= 0.02
    assert found[0].category_name == ranked[0].label
