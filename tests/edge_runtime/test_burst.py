"""Several images of one lesion, one prediction: its scores, the image it keeps, and its notes."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image, ImageFilter

from spot_edge.classifier import Classifier
from spot_edge.errors import InputError
from spot_edge.image.source import Source
from spot_edge.model.file import ModelFile, seal, verify
from spot_edge.model.spec import QualityLimits, Rate
from spot_edge.prediction.burst import Burst, mean_scores
from spot_edge.prediction.prediction import Prediction, prediction_set_of, triage_of
from spot_edge.prediction.wording import describe


@pytest.fixture(scope="module")
def limited(model: ModelFile, flatbuffer: bytes) -> Callable[..., Classifier]:
    """limited(limits): a classifier with the embedded network and these quality limits, or none."""

    def classifier(limits: dict[str, float] | None = None) -> Classifier:
        limited = limits and QualityLimits(limits, Rate(0.01, 0.0, 0.02, 745), "test")
        return Classifier(
            verify(seal(flatbuffer, model.spec._replace(image_quality=limited or None)), "limited.tflite")
        )

    return classifier


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Noise in four colours, the second the sharpest, the last blurred."""
    noise = Image.effect_noise((400, 300), 60).convert("RGB")
    blurs = (1.5, 0, 1, 6)
    tints = ((210, 160, 140), (120, 70, 60), (200, 120, 90), (90, 60, 50))
    pictures = [noise.filter(ImageFilter.GaussianBlur(blur)) if blur else noise for blur in blurs]
    return [
        np.asarray(Image.blend(picture, Image.new("RGB", picture.size, tint), 0.5))
        for picture, tint in zip(pictures, tints, strict=True)
    ]


def scores(prediction: Prediction) -> np.ndarray:
    by_label = {each.label: each.score for each in prediction.ranked}
    return np.array([by_label[label] for label in prediction.labels], np.float32)


def test_the_mean_is_the_softmax_of_the_mean_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (5, 7))

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)

    found = mean_scores(softmax(logits).astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, softmax(logits.mean(axis=0)), rtol=1e-5)


def test_one_score_of_zero_does_not_rule_a_class_out() -> None:
    found = mean_scores(np.array([[0, 1], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], np.float32))
    assert 0 < found[0] < 0.01
    assert found.sum() == pytest.approx(1)
    assert np.isnan(mean_scores(np.array([[np.nan, 0.5], [0.5, 0.5]], np.float32))).any()


def test_scores_triage_and_prediction_set_come_from_the_mean(limited: Callable[..., Classifier], frames: list) -> None:
    classifier = limited()
    spec, prediction = classifier.model.spec, classifier.classify_burst(frames)
    alone = [classifier.classify(frame) for frame in frames]
    expected = mean_scores(np.stack([scores(each) for each in alone]))
    np.testing.assert_array_equal(scores(prediction), expected)
    assert [each.score for each in prediction.ranked] == sorted(expected.tolist(), reverse=True)
    assert prediction.triage == triage_of(spec, expected)
    assert prediction.prediction_set == prediction_set_of(spec, prediction.ranked)
    agreeing = sum(each.top.label == prediction.top.label for each in alone)
    assert prediction.burst == Burst(frames=4, averaged=4, agreeing=agreeing, kept=2)
    assert set(prediction.timings_ms) == set(alone[0].timings_ms)
    assert all(prediction.timings_ms[step] >= 0 for step in prediction.timings_ms)


def test_the_sharpest_image_is_kept(limited: Callable[..., Classifier], frames: list) -> None:
    classifier = limited()
    named = [Source.of(frame, f"frame {number}") for number, frame in enumerate(frames, 1)]
    for order in ([0, 1, 2, 3], [1, 0, 3, 2], [3, 2, 0, 1]):
        kept, prediction = classifier.predict_burst(classifier.prepare(named[place]) for place in order)
        own = classifier.classify(frames[1])
        assert prediction.burst is not None
        assert prediction.burst.kept == 1 + order.index(1)
        assert kept.source is named[1]
        assert prediction.source == {"kind": "array", "name": "frame 2"}
        assert prediction.image == kept.as_dict()
        np.testing.assert_array_equal(prediction.evidence, own.evidence)
        np.testing.assert_array_equal(prediction.embedding, own.embedding)


def test_copies_of_one_image_score_like_one(limited: Callable[..., Classifier], frames: list) -> None:
    classifier = limited()
    alone, copies = classifier.classify(frames[0]), classifier.classify_burst([frames[0]] * 4)
    np.testing.assert_allclose(scores(copies), scores(alone), rtol=1e-6)
    assert copies.triage.category == alone.triage.category
    assert copies.burst == Burst(4, 4, 4, 1)
    only = classifier.classify_burst([frames[0]])
    assert (only.burst, only.notes) == (Burst(1, 1, 1, 1), alone.notes)


def test_bad_frames_are_left_out(limited: Callable[..., Classifier], frames: list) -> None:
    classifier = limited({"sharpness": 0.3})
    fit = [not classifier.classify(frame).quality for frame in frames]
    assert (fit[1], fit[3]) == (True, False)
    prediction = classifier.classify_burst(frames)
    expected = limited().classify_burst([frame for frame, good in zip(frames, fit, strict=True) if good])
    np.testing.assert_array_equal(scores(prediction), scores(expected))
    assert prediction.quality == ()
    assert prediction.burst is not None
    assert (prediction.burst.frames, prediction.burst.averaged, prediction.burst.kept) == (4, sum(fit), 2)
    assert f"the mean of {sum(fit)} of 4 images" in " ".join(describe(prediction, 1).split())


def test_a_burst_without_a_good_frame_is_not_assessed(limited: Callable[..., Classifier], frames: list) -> None:
    classifier = limited({"sharpness": 0.999})
    prediction, sharpest = classifier.classify_burst(frames), classifier.classify(frames[1])
    assert prediction.abstained
    assert (prediction.triage, prediction.quality, prediction.ranked) == (
        sharpest.triage,
        sharpest.quality,
        sharpest.ranked,
    )
    assert prediction.burst == Burst(frames=4, averaged=0, agreeing=0, kept=2)
    assert (
        "none of the 4 images passes the image quality check; image 2 is the sharpest and is kept" in prediction.notes
    )


def test_the_json_form_and_the_text(limited: Callable[..., Classifier], frames: list) -> None:
    classifier = limited()
    prediction = classifier.classify_burst(frames)
    record = json.loads(json.dumps(prediction.as_dict(), allow_nan=False))
    assert set(record["burst"]) == {"frames", "averaged", "agreeing", "kept"}
    assert record["notes"][-1] == "this model's figures were measured on single images"
    assert "the mean of 4 images" in " ".join(describe(prediction, 1).split())
    assert json.loads(json.dumps(classifier.classify(frames[0]).as_dict()))["burst"] is None


def test_a_burst_needs_an_image(limited: Callable[..., Classifier]) -> None:
    with pytest.raises(InputError, match="at least one image"):
        limited().classify_burst([])


def test_few_images_stay_in_memory(limited: Callable[..., Classifier], frames: list) -> None:
    classifier = limited()
    pictures: list[weakref.ref[Image.Image]] = []
    held = []

    def arriving() -> Iterator:
        for number in range(12):
            prepared = classifier.prepare(frames[number % 4])
            pictures.append(weakref.ref(prepared.image))
            held.append(sum(picture() is not None for picture in pictures))
            yield prepared

    classifier.predict_burst(arriving())
    assert len(held) == 12
    assert max(held) <= 3
