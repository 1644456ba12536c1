"""MediaPipe's ImageClassifier ranks and scores as spot-edge does on the embedded model, given the same input.

If MediaPipe resizes the images itself, the differences are printed but not limited. tests/targets/run.sh runs this in
an environment of its own, with `-s` to show the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

import mediapipe
import numpy as np
import pytest
from images import drawn_lesions, first_images
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

from spot_edge import Classifier

IMAGES = 200
TOLERANCE = 0.02


@dataclass(frozen=True)
class Pair:
    """One image's scores in label order: ours, and MediaPipe's from our input and from its own resizing."""

    ours: np.ndarray
    same_input: np.ndarray
    own_input: np.ndarray


@pytest.fixture(scope="module")
def theirs() -> Iterator[ImageClassifier]:
    content = (resources.files("spot_edge") / "models" / "spot-int8.tflite").read_bytes()
    options = ImageClassifierOptions(BaseOptions(model_asset_buffer=content))
    with ImageClassifier.create_from_options(options) as classifier:  # closed by Python while it exits, it may hang
        yield classifier


@pytest.fixture(scope="module", params=["drawn", "HAM10000"])
def pairs(request: pytest.FixtureRequest, theirs: ImageClassifier) -> list[Pair]:
    """The scores of 200 images."""
    ours = Classifier.load(threads=1)
    labels = [label.label for label in ours.model.spec.labels]
    found = []
    for image in map(np.asarray, drawn_lesions(IMAGES)) if request.param == "drawn" else first_images(IMAGES):
        prepared = ours.prepare(image)
        scores = {score.label: score.score for score in ours.predict(prepared).ranked}
        found.append(
            Pair(
                np.array([scores[label] for label in labels]),
                _scores(theirs, prepared.tensor[0], labels),
                _scores(theirs, np.asarray(prepared.image), labels),
            )
        )
    assert len(found) == IMAGES
    return found


def test_same_input_gives_the_same_scores(pairs: list[Pair]) -> None:
    gaps = [float(np.abs(pair.same_input - pair.ours).max()) for pair in pairs]
    print(f"\nsame input, n={len(gaps)}: largest |score - ours| {max(gaps):.4f}, mean {np.mean(gaps):.4f}")
    assert max(gaps) <= TOLERANCE


def test_same_input_gives_the_same_ranking(pairs: list[Pair]) -> None:
    """In MediaPipe's order our scores never increase by more than the tolerance."""
    for pair in pairs:
        in_their_order = pair.ours[np.argsort(-pair.same_input, kind="stable")]
        assert np.all(np.diff(in_their_order) <= TOLERANCE)


def test_own_resizing_is_reported(pairs: list[Pair]) -> None:
    gaps = np.array([np.abs(pair.own_input - pair.ours).max() for pair in pairs])
    agree = sum(int(pair.own_input.argmax() == pair.ours.argmax()) for pair in pairs)
    print(
        f"\nits own resizing, n={len(gaps)}: same top class {agree}, largest |score - ours| of an image: "
        f"mean {gaps.mean():.3f}, max {gaps.max():.3f}"
    )
    assert np.isfinite(gaps).all()


def _scores(theirs: ImageClassifier, pixels: np.ndarray, labels: list[str]) -> np.ndarray:
    image = mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(pixels))
    found = theirs.classify(image).classifications[0].categories
    scores = {category.category_name: category.score for category in found}
    assert [category.score for category in found] == sorted(scores.values(), reverse=True)
    assert sorted(scores) == sorted(labels)
    return np.array([scores[label] for label in labels])
