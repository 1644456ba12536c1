"""Fitted image quality limits reject few good images and all unlike ones, here as on the device."""

from __future__ import annotations

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_convert.checks.image_quality import (
    AXES,
    MAX_MEMBER_BYTES,
    MIN_VALIDATION,
    REJECTED,
    choose_limits,
    fit_ood_reference,
    ood_distances,
    ood_member,
)
from spot_edge.image.appearance import APPEARANCE
from spot_edge.image.quality import CHECKS, OOD, findings
from spot_edge.prediction.ood import OodReference, read_ood_reference

FEATURES, CLASSES = 64, 3


def images(seed: int, count: int, shift: float = 0.0) -> Predictions:
    """Return predictions whose embeddings and appearance scatter around class centres; `shift` moves them away."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % CLASSES
    places, scales = np.random.default_rng(0).normal(0, 4, (CLASSES, FEATURES)), np.geomspace(4, 0.2, FEATURES)
    embeddings = places[truth] + random.normal(0, 1, (count, FEATURES)) * scales + shift
    looks = 0.5 + random.normal(0, 0.02, (count, len(APPEARANCE))) + 0.1 * shift
    scores = np.full((count, CLASSES), 1 / CLASSES, np.float32)
    return Predictions(
        labels=("a", "b", "c"),
        truth=truth,
        scores=scores,
        logits=np.log(scores),
        groups=np.arange(count).astype(str),
        images=np.array([f"{seed}-{number}.jpg" for number in range(count)]),
        embeddings=embeddings.astype(np.float32),
        appearance=looks.astype(np.float32),
    )


TRAINING, VALIDATION, TEST = images(1, 900), images(2, 1000), images(3, 1500)


@pytest.fixture(scope="module")
def ood_reference() -> OodReference:
    return fit_ood_reference(TRAINING, VALIDATION, CLASSES)


def test_the_device_reads_what_was_fitted(ood_reference: OodReference) -> None:
    content = ood_member(ood_reference)
    again = read_ood_reference(content, FEATURES, "m")
    for name, ours in ood_reference._asdict().items():
        np.testing.assert_array_equal(getattr(again, name), ours, err_msg=name)
    assert ood_member(again) == content
    assert again.axes.shape == (AXES, FEATURES)


def test_distances_along_the_axes_match_the_full_covariance() -> None:
    few = fit_ood_reference(TRAINING, VALIDATION, CLASSES)
    values = np.asarray(TRAINING.embeddings, np.float64)
    apart = values - np.array([values[TRAINING.truth == label].mean(0) for label in range(CLASSES)])[TRAINING.truth]
    covariance = apart.T @ apart / (len(values) - CLASSES)
    along = few.axes.astype(np.float64) @ covariance @ few.axes.T.astype(np.float64)
    np.testing.assert_allclose(np.diag(along), few.variances, rtol=0.01)
    assert few.rest == pytest.approx((np.trace(covariance) - few.variances.sum()) / (FEATURES - AXES), rel=0.01)


def test_appearance_is_whitened(ood_reference: OodReference) -> None:
    assert TRAINING.appearance is not None
    white = (TRAINING.appearance[:, 5:] - ood_reference.look_mean) @ ood_reference.look_whitening
    np.testing.assert_allclose(np.cov(white.T), np.eye(white.shape[1]), atol=0.05)


def test_usual_images_have_distances_around_zero_and_unlike_ones_larger(ood_reference: OodReference) -> None:
    usual = ood_distances(ood_reference, VALIDATION)
    assert abs(usual.mean()) < 0.01
    assert np.median(ood_distances(ood_reference, images(4, 60, shift=3))) > usual.max()


def test_few_good_images_are_rejected_and_all_unlike_ones(ood_reference: OodReference) -> None:
    quality = choose_limits(ood_reference, VALIDATION, TEST, "test")
    assert quality is not None
    assert set(quality.limits) == {check.name for check in CHECKS} == set(REJECTED)
    assert sum(REJECTED.values()) < 0.02  # at most 2 % of good images in total
    assert quality.measured_on == "test"
    assert quality.refused.n == 1500
    assert 0.005 < quality.refused.value < 0.035

    def rejected(predictions: Predictions) -> list[bool]:
        unlike = ood_distances(ood_reference, predictions)
        assert predictions.appearance is not None
        values = [dict(zip(APPEARANCE, look, strict=True)) for look in predictions.appearance.tolist()]
        return [bool(findings(v | {OOD: u}, quality.limits)) for v, u in zip(values, unlike.tolist(), strict=True)]

    assert np.mean(rejected(TEST)) == pytest.approx(quality.refused.value)  # the device's own checks agree
    own = choose_limits(ood_reference, VALIDATION, VALIDATION, "validation")
    assert own is not None
    assert own.refused.value <= sum(REJECTED.values())
    assert all(rejected(images(4, 60, shift=3)))


def test_each_limit_rejects_its_share_of_validation(ood_reference: OodReference) -> None:
    quality = choose_limits(ood_reference, VALIDATION, TEST, "test")
    assert quality is not None
    assert VALIDATION.appearance is not None
    values = dict(zip(APPEARANCE, VALIDATION.appearance.T, strict=True)) | {
        OOD: ood_distances(ood_reference, VALIDATION)
    }
    for check in CHECKS:
        beyond = (
            values[check.name] < quality.limits[check.name]
            if check.least
            else (values[check.name] > quality.limits[check.name])
        )
        assert round(1000 * REJECTED[check.name]) - 1 <= beyond.sum() <= round(1000 * REJECTED[check.name]), check.name


def test_too_few_validation_images_give_no_limits(ood_reference: OodReference) -> None:
    assert choose_limits(ood_reference, images(5, MIN_VALIDATION - 1), TEST, "test") is None
    assert choose_limits(ood_reference, images(5, MIN_VALIDATION), TEST, "test") is not None


def test_a_class_without_training_images_and_a_wide_embedding() -> None:
    without = TRAINING.where(TRAINING.truth != 1)
    found = fit_ood_reference(without, VALIDATION, CLASSES)
    assert np.isnan(found.means[1]).all()
    assert np.isfinite(ood_distances(found, TEST)).all()
    assert len(ood_member(found)) <= MAX_MEMBER_BYTES
