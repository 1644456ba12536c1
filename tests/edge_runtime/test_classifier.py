"""From an image to a prediction, with the embedded model."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from spot_edge.classifier import Classifier
from spot_edge.errors import InputError
from spot_edge.image.source import Source
from spot_edge.model.file import seal, verify
from spot_edge.model.spec import MeasuredIn
from spot_edge.prediction.heatmap import evidence_for, overlay, overlay_png
from spot_edge.prediction.ood import MEMBER


def scores(prediction) -> dict[str, float]:
    return {each.label: each.score for each in prediction.ranked}


def test_a_path_bytes_an_array_and_a_frame_give_the_same_scores(classifier, picture, lesion) -> None:
    with Image.open(io.BytesIO(lesion)) as image:
        array = np.asarray(image)
    things = [picture, str(picture), lesion, array, Source.frame(lesion, "cam0", 12.5)]
    predictions = [classifier.classify(thing) for thing in things]
    assert all(scores(prediction) == scores(predictions[0]) for prediction in predictions)
    assert [prediction.source["kind"] for prediction in predictions] == ["path", "path", "bytes", "array", "frame"]
    assert predictions[4].source["camera"] == "cam0"


def test_a_prediction_is_complete(classifier, picture, model) -> None:
    prediction = classifier.classify(picture)
    assert sum(scores(prediction).values()) == pytest.approx(1, abs=1e-5)
    assert [each.score for each in prediction.ranked] == sorted(scores(prediction).values(), reverse=True)
    assert prediction.top == prediction.ranked[0]
    assert prediction.labels == tuple(label.label for label in model.spec.labels)
    assert prediction.model == {"name": model.spec.name, "variant": model.spec.variant, "id": model.id}
    assert prediction.evidence.shape[2] == len(prediction.labels)
    assert prediction.embedding.shape == model.signature.outputs["embedding"].shape[1:]
    assert prediction.triage.category in ("review now", "review soon", "routine")
    assert json.loads(json.dumps(prediction.as_dict(), allow_nan=False))["image"]["width"] == 120


def test_different_images_get_different_scores(classifier, draw) -> None:
    first, second = (classifier.classify(picture) for picture in (draw(120, 90), 255 - draw(120, 90)))
    assert scores(first) != scores(second)


def test_an_image_that_cannot_be_read_is_an_input_error(classifier, tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        classifier.classify(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match="bytes: empty"):
        classifier.classify(b"")


def test_another_runtime_than_the_measured_one_is_noted(model, flatbuffer, lesion) -> None:
    for measured, notes in (("an-older-runtime", 1), (Classifier(model).runtime.name, 0)):
        spec = model.spec._replace(measured_in=MeasuredIn(measured, "0.9"))
        prediction = Classifier(verify(seal(flatbuffer, spec, {MEMBER: model.members[MEMBER]}), "m")).classify(lesion)
        assert len(prediction.notes) == notes
        assert all("were measured in an-older-runtime 0.9" in note for note in prediction.notes)


def test_a_model_without_operating_points_abstains(model, flatbuffer, lesion) -> None:
    spec = model.spec._replace(operating_points=())
    assert Classifier(verify(seal(flatbuffer, spec, {MEMBER: model.members[MEMBER]}), "m")).classify(lesion).abstained


def test_the_embedded_model_is_the_default(classifier, model) -> None:
    assert Classifier.load().model.id == classifier.model.id == model.id


@pytest.mark.parametrize(
    ("width", "height", "shown"),
    [(120, 90, (120, 90)), (2048, 1536, (1024, 768)), (90, 200, (90, 200)), (3000, 40, (1024, 14))],
)
def test_a_heat_map_has_the_shape_of_the_image_and_changes_only_the_classified_part(
    width, height, shown, classifier, draw
) -> None:
    prepared = classifier.prepare(draw(width, height))
    prediction = classifier.predict(prepared)
    drawn = overlay(prepared, prediction)
    assert (drawn.mode, drawn.size) == ("RGB", shown)
    plain = np.asarray(prepared.image.resize(shown, Image.Resampling.BILINEAR)).astype(int)
    changed = np.abs(np.asarray(drawn) - plain).max(axis=2) > 1
    assert changed.any()
    if prepared.crop:
        scale = shown[0] / width
        left, top, right, bottom = (round(edge * scale) for edge in prepared.crop)
        changed[top:bottom, left:right] = False
        assert not changed.any()


def test_evidence_is_for_the_top_class_or_a_named_class(classifier, lesion) -> None:
    prediction = classifier.classify(lesion)
    first, last = prediction.ranked[0].label, prediction.ranked[-1].label
    assert np.array_equal(evidence_for(prediction), evidence_for(prediction, first))
    assert not np.array_equal(evidence_for(prediction), evidence_for(prediction, last))
    assert evidence_for(prediction).min() >= 0
    assert evidence_for(prediction).max() == 1
    with pytest.raises(InputError, match="wart: not a class of this model"):
        evidence_for(prediction, "wart")


def test_evidence_is_drawn_where_the_network_found_it(classifier, lesion) -> None:
    """In this made-up map all evidence is in the upper left corner of the classified region."""
    prepared = classifier.prepare(lesion)
    evidence = np.zeros((6, 6, 7), np.float32)
    evidence[0, 0, 0] = 1
    made = replace(classifier.predict(prepared), evidence=evidence)
    changed = np.asarray(overlay(prepared, made, made.labels[0])).astype(int) - np.asarray(prepared.image)
    rows, columns = np.nonzero(np.abs(changed).max(axis=2) > 20)
    assert rows.size
    assert rows.max() < 45
    assert columns.max() < 60


def test_a_heat_map_file_is_a_png_without_metadata(classifier, draw, encode) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRET"
    prepared = classifier.prepare(encode(draw(120, 90), "JPEG", exif=exif, comment=b"SECRET"))
    png = overlay_png(prepared, classifier.predict(prepared))
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.size, image.info) == ("PNG", (120, 90), {})
    assert b"SECRET" not in png


def test_one_classifier_serves_several_threads(classifier, draw) -> None:
    """Each thread gets the predictions of its own images, as one thread alone would."""
    prepared = [classifier.prepare(np.roll(draw(120, 90), 12 * turn, axis=1)) for turn in range(8)]
    alone = [scores(classifier.predict(each)) for each in prepared]
    assert len({max(each.values()) for each in alone}) == 8
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda turn: scores(classifier.predict(prepared[turn % 8])), range(64)))
    assert together == 8 * alone
