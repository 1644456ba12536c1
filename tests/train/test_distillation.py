"""Distillation: teachers' predictions become part of the targets."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from spot_bench.data.manifest import read_manifest
from spot_bench.stats.calibration import softmax
from spot_edge.errors import DataError
from spot_edge.model.spec import ImageSpec
from spot_train.data.pixels import pixel_array
from spot_train.labels.labelset import load_label_set, plain_label_set
from spot_train.loop.fit import predict_logits
from spot_train.loop.teachers import check_teachers, distilled_targets
from spot_train.recipes.recipe import Train


def test_targets_are_a_mix_of_labels_and_teacher_predictions(shapes_run: Path, shapes: Path, tmp_path: Path) -> None:
    manifest = read_manifest(shapes_run / "split.csv", root=shapes).split("val")
    labels = np.eye(3, dtype=np.float32)[np.arange(len(manifest.items)) % 3]
    train = Train(teachers=(str(shapes_run), str(shapes_run)), teacher_share=0.25, teacher_temperature=4.0)
    targets = distilled_targets(labels, train, manifest, tmp_path)
    body = keras.saving.load_model(shapes_run / "model.keras", compile=False)
    predictions = softmax(predict_logits(body, pixel_array(manifest, ImageSpec(64))) / 4)
    np.testing.assert_allclose(targets, 0.75 * labels + 0.25 * predictions, atol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)


def test_teachers_must_know_the_same_classes(shapes_run: Path, shapes: Path) -> None:
    train, manifest = Train(teachers=(str(shapes_run),)), read_manifest(shapes_run / "split.csv", root=shapes)
    check_teachers(train, plain_label_set(["circle", "square", "triangle"]), manifest)
    with pytest.raises(DataError, match=r"this teacher has different classes \(circle, square, triangle\)"):
        check_teachers(train, load_label_set("ham10000"), manifest)


def test_a_teacher_without_its_network_is_refused(shapes_run: Path, shapes: Path, tmp_path: Path) -> None:
    manifest = read_manifest(shapes_run / "split.csv", root=shapes).split("val")
    with pytest.raises(DataError, match=r"cannot open its model\.keras"):
        distilled_targets(
            np.zeros((len(manifest.items), 3), np.float32), Train(teachers=("absent",)), manifest, tmp_path
        )
