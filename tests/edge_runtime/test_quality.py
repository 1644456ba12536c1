"""A model file's quality limits and an image's appearance: findings, messages, and images without triage."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter

from spot_edge.classifier import Classifier
from spot_edge.commands.info import info
from spot_edge.errors import ModelError
from spot_edge.image.appearance import APPEARANCE, OOD_FEATURES, appearance_of
from spot_edge.image.quality import CHECKS, OOD, findings
from spot_edge.model.file import ModelFile, read_stored, seal, verify
from spot_edge.model.spec import QualityLimits, Rate
from spot_edge.prediction.ood import MEMBER, read_ood_reference
from spot_edge.prediction.wording import describe

GOOD = {"sharpness": 0.4, "light": 0.7, "white": 0.0, "black": 0.0, "contrast": 0.4, OOD: 0.0}
LIMITS = {"sharpness": 0.3, "light": 0.4, "white": 0.01, "black": 0.2, "contrast": 0.1, OOD: 5.0}
FEATURES = 1280


def names(**changed: float) -> list[str]:
    return [each.check for each in findings(GOOD | changed, LIMITS)]


def test_a_good_image_has_no_findings() -> None:
    assert names() == []


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_each_limit_applies_and_a_value_at_it_passes(check) -> None:
    limit = LIMITS[check.name]
    beyond, within = (limit - 0.001, limit + 0.001) if check.least else (limit + 0.001, limit - 0.001)
    assert names(**{check.name: within}) == []
    assert names(**{check.name: limit}) == []
    assert names(**{check.name: beyond}) == [check.name]
    assert names(**{check.name: math.nan}) == [check.name]


def test_limits_without_a_value_and_values_without_a_limit() -> None:
    assert findings({}, LIMITS) == ()
    assert findings(dict.fromkeys(LIMITS, -99.0), {}) == ()


def arrays(features: int = FEATURES) -> dict[str, np.ndarray]:
    measures = len(APPEARANCE[OOD_FEATURES])
    axes = np.eye(2, features, dtype=np.float16)
    means = np.zeros((3, features), np.float16)
    means[1], means[2] = 1, np.nan
    return {
        "means": means,
        "axes": axes,
        "variances": np.array([4, 9], np.float32),
        "rest": np.float32(0.5),
        "look_mean": np.zeros(measures, np.float32),
        "look_whitening": 2 * np.eye(measures, dtype=np.float32),
        "usual": np.array([[1, 0.5], [2, 4]], np.float32),
    }


def packed(**changed: object) -> bytes:
    content = io.BytesIO()
    np.savez(content, **{name: array for name, array in (arrays() | changed).items() if array is not None})
    return content.getvalue()


# Headers that numpy's own reader would evaluate, or allocate memory for, before it found the data missing.
HEADERS = [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551617,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 9223372036854775807), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 99 + "), }",
    "{'descr': '<U0', 'fortran_order': False, 'shape': (9999999999,), }",
    "{'descr': " + "-" * 9000 + "1}",
    "{'descr': " + "[" * 9000 + "}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), 'a': (}",
]


def test_distances_by_hand() -> None:
    ood_reference = read_ood_reference(packed(), FEATURES, "m")
    embedding = np.zeros(FEATURES, np.float32)
    embedding[[0, 1, 2]] = 4, 3, 1  # 16/4 + 9/9 + 1/.5 from the first class
    appearance = np.zeros(len(APPEARANCE), np.float32)
    appearance[5] = 3
    assert ood_reference.distances(appearance, embedding) == pytest.approx((7, 36))
    assert ood_reference.distances(appearance, np.ones(FEATURES, np.float32))[0] == 0  # the second class's own mean
    expected = (math.log(7) - 1) / 0.5 + (math.log(36) - 2) / 4
    assert ood_reference.ood_distance(appearance, embedding) == pytest.approx(expected, rel=1e-6)


def with_header(header: str) -> bytes:
    """The usual arrays, but with this header for `rest`."""
    content, text = io.BytesIO(), header.encode() + b"\n"
    with zipfile.ZipFile(content, "w") as bundle, np.load(io.BytesIO(packed(rest=None))) as others:
        for name in others:
            array = io.BytesIO()
            np.save(array, others[name])
            bundle.writestr(f"{name}.npy", array.getvalue())
        bundle.writestr("rest.npy", b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(4))
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip",
        packed()[:-30],
        packed(rest=None),
        packed(rest=np.float32(0)),
        packed(rest=np.float32("nan")),
        packed(rest=np.zeros(2, np.float32)),
        packed(variances=np.array([4, -9], np.float32)),
        packed(variances=np.float32(4)),
        packed(means=np.zeros((3, FEATURES + 1), np.float16)),
        packed(means=np.zeros(FEATURES, np.float16)),
        packed(axes=np.zeros((3, FEATURES), np.float16)),
        packed(look_mean=np.zeros(3, np.float32)),
        packed(look_whitening=np.array("text")),
        packed(usual=np.zeros((2, 2), np.float32)),
        packed(usual=np.array([None, object()])),
        packed(means=np.ones((3, FEATURES), np.complex64)),
        packed(means=np.zeros(3, "S0")),
        packed(means=np.zeros(3, [("a", "f4")])),
        *(with_header(header) for header in HEADERS),
    ],
)
def test_malformed_arrays_are_rejected(content: bytes) -> None:
    with pytest.raises(ModelError, match=rf"^m\.tflite: its {MEMBER} does not hold"):
        read_ood_reference(content, FEATURES, "m.tflite")


def test_arrays_are_read_as_numpy_reads_them() -> None:
    content = packed()
    ours = read_ood_reference(content, FEATURES, "m")
    with np.load(io.BytesIO(content)) as by_numpy:
        assert set(by_numpy) == set(ours._fields)
        for name in by_numpy:
            np.testing.assert_array_equal(getattr(ours, name), by_numpy[name], err_msg=name)
    assert set(read_stored(content)) == {f"{name}.npy" for name in ours._fields}


@pytest.fixture(scope="module")
def limited(model: ModelFile, flatbuffer: bytes, lesion: bytes) -> Callable[..., Classifier]:
    """limited(limits): a classifier with the embedded network and limits that the tests' own image meets."""
    plain = Classifier(model)
    prepared = plain.prepare(lesion)
    appearance, embedding = appearance_of(prepared.tensor), plain.predict(prepared).embedding
    own = {"means": embedding[np.newaxis], "look_mean": appearance[OOD_FEATURES]}

    def classifier(limits: dict[str, float]) -> Classifier:
        limited = QualityLimits(limits, Rate(0.01, 0.0, 0.02, 745), "test")
        sealed = seal(flatbuffer, model.spec._replace(image_quality=limited), {MEMBER: packed(**own)})
        return Classifier(verify(sealed, "limited.tflite"))

    return classifier


def test_an_image_within_the_limits_is_classified_as_without_limits(
    limited: Callable[..., Classifier], model: ModelFile, lesion: bytes
) -> None:
    prediction, plain = limited({OOD: 5.0, "black": 1.0}).classify(lesion), Classifier(model).classify(lesion)
    assert (prediction.quality, prediction.ranked, prediction.triage) == ((), plain.ranked, plain.triage)
    assert not prediction.abstained
    assert set(prediction.timings_ms) == {"decode", "resize", "invoke", "quality"}


def test_a_bad_image_is_not_assessed_and_says_why_and_what_to_do(
    limited: Callable[..., Classifier], lesion: bytes
) -> None:
    prediction = limited({"sharpness": 0.99, "light": 1.0}).classify(lesion)
    assert prediction.abstained
    assert [each.check for each in prediction.quality] == ["sharpness", "light"]
    assert prediction.triage.malignant_score is None
    text = describe(prediction, top=2)
    assert "CANNOT ASSESS: the image is blurred: hold still, focus, and clean the lens; too dark: turn" in " ".join(
        text.split()
    )
    assert "looks most like" not in text
    assert "may be" not in text
    record = json.loads(json.dumps(prediction.as_dict(), allow_nan=False))
    assert record["abstained"] is True
    assert set(record["quality"][0]) == {"check", "value", "limit", "problem", "advice"}
    assert len(record["ranked"]) == 7  # still there for those who want them


def test_an_out_of_distribution_image_is_not_assessed(limited: Callable[..., Classifier]) -> None:
    noise = np.asarray(Image.effect_noise((160, 120), 90).convert("RGB"))
    prediction = limited({OOD: 5.0}).classify(noise)
    assert [each.check for each in prediction.quality] == [OOD]
    assert "unlike the images this model was trained on" in prediction.triage.reason


def test_an_ood_limit_without_its_reference_is_a_broken_file(model: ModelFile, flatbuffer: bytes) -> None:
    limited = QualityLimits({OOD: 5.0}, Rate(0.01, 0.0, 0.02, 745), "test")
    with pytest.raises(ModelError, match=MEMBER):
        Classifier(verify(seal(flatbuffer, model.spec._replace(image_quality=limited)), "m"))


def test_a_sharpness_limit_finds_blur(limited: Callable[..., Classifier]) -> None:
    picture = Image.effect_noise((400, 300), 60).convert("RGB")
    blurred = picture.filter(ImageFilter.GaussianBlur(6))
    classifier = limited({"sharpness": 0.3})
    assert not classifier.classify(np.asarray(picture)).quality
    assert [each.check for each in classifier.classify(np.asarray(blurred)).quality] == ["sharpness"]


def test_info_lists_the_limits_and_how_much_they_reject(model: ModelFile, flatbuffer: bytes, tmp_path: Path) -> None:
    limited = QualityLimits({"sharpness": 0.25, "white": 0.004}, Rate(0.01, 0.0, 0.02, 745), "test")
    path = tmp_path / "limited.tflite"
    path.write_bytes(seal(flatbuffer, model.spec._replace(image_quality=limited)))
    text = CliRunner().invoke(info, [str(path)]).stdout
    assert "image quality limits, which reject 1 % (0 to 2, n=745) of good images (test)" in text
    assert "  sharpness        at least 0.250, else blurred" in text
    assert "  white            at most 0.004, else too bright, or glare" in text
    path.write_bytes(seal(flatbuffer, model.spec._replace(image_quality=None)))
    assert "beyond these limits" not in CliRunner().invoke(info, [str(path)]).stdout


def test_arrays_in_column_order_and_headers_of_other_lengths() -> None:
    """As numpy saves an array in column order, and as its older versions padded headers."""
    columns = read_ood_reference(packed(means=np.asfortranarray(arrays()["means"])), FEATURES, "m")
    np.testing.assert_array_equal(columns.means, arrays()["means"])
    short = with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (), }")
    with pytest.raises(ModelError):
        read_ood_reference(short, FEATURES, "m")  # its `rest` is zero
    assert read_ood_reference(short[::1].replace(b"}\n\0\0\0\0", b"}\n\0\0\0?"), FEATURES, "m").rest == 0.5


def test_without_class_means_every_image_is_out_of_distribution() -> None:
    reference = read_ood_reference(packed(means=np.full((3, FEATURES), np.nan, np.float16)), FEATURES, "m")
    value = reference.ood_distance(np.zeros(len(APPEARANCE), np.float32), np.zeros(FEATURES, np.float32))
    assert names(ood=value) == ["ood"]
