"""`bench robustness`: the perturbations, and the report on their effect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, draw_shapes
from spot_bench.data.manifest import Item, Manifest, read_manifest, write_manifest
from spot_bench.robustness.measure import measure_robustness
from spot_bench.robustness.perturbations import PERTURBATIONS, Perturbation, _resized
from spot_convert.kit.mistakes import _plain
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError
from spot_edge.image.source import Source
from spot_edge.image.tensor import Prepared, prepare
from spot_edge.model.spec import ImageSpec

NAMES = {perturbation.name: perturbation for perturbation in PERTURBATIONS}


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Thirty drawn shapes with labels of the embedded model, most of them nevi."""
    folder = tmp_path_factory.mktemp("data")
    draw_shapes(folder, per_class=10, width=64, height=48)
    names = {"circle": "nv", "square": "mel", "triangle": "nv"}
    found = read_manifest(folder)
    return replace(found, items=tuple(replace(item, label=names[item.label]) for item in found.items))


def prepared(pixels: np.ndarray, size: int = 96) -> Prepared:
    return prepare(Source.of(pixels.astype(np.uint8)), ImageSpec(size))


def lesion(width: int = 300, height: int = 225) -> np.ndarray:
    return np.asarray(draw_lesion(3, width, height))


def far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_every_perturbation_changes_the_tensor_and_not_much() -> None:
    found = prepared(lesion())
    for name, perturbation in NAMES.items():
        tensor = perturbation.tensor(found)
        assert (tensor.dtype, tensor.shape) == (found.tensor.dtype, found.tensor.shape), name
        assert 0 < far(tensor, found.tensor) < (50 if name.startswith("bri") else 25), name


@pytest.mark.parametrize("shape", [(225, 300), (300, 225), (200, 200), (90, 400)])
def test_another_filter_resizes_the_models_crop_once(shape: tuple[int, int]) -> None:
    found = prepared(lesion(shape[1], shape[0]))
    kept = found.image.crop(found.crop) if found.crop else found.image
    for name, by in (("bicubic", Image.Resampling.BICUBIC), ("box", Image.Resampling.BOX)):
        expected = np.asarray(kept.resize((96, 96), by))
        assert NAMES[f"resize {name}"].tensor(found)[0].tolist() == expected.tolist()
    assert _resized(Image.Resampling.BILINEAR)(found).tolist() == found.tensor.tolist()  # same filter, same result


def test_aliased_is_plain_bilinear() -> None:
    found = prepared(lesion())
    plain = np.asarray(_plain(found.image, (96, 96)))
    assert np.abs(NAMES["resize aliased"].tensor(found)[0].astype(int) - plain).max() <= 1  # rounding


def test_rotation_adds_no_black_corners_and_has_the_right_direction() -> None:
    white = prepared(np.full((225, 300, 3), 255))
    for name in ("rotated -10°", "rotated +10°"):
        assert NAMES[name].tensor(white).min() == 255
    narrow = prepared(np.full((40, 600, 3), 255))
    assert NAMES["rotated +10°"].tensor(narrow).min() == 255
    # A dot to the right of the centre goes up when rotated counterclockwise, and down otherwise.
    dot = np.zeros((225, 300, 3))
    dot[108:117, 250:260] = 255
    rows = [
        np.argmax(NAMES[name].tensor(prepared(dot))[0, :, :, 0].sum(axis=1))
        for name in ("rotated +10°", "rotated -10°")
    ]
    assert rows[0] < 48 < rows[1]
    assert 47.5 - rows[0] == pytest.approx(rows[1] - 47.5, abs=1)


def test_brightness_changes_by_its_factor() -> None:
    grey = prepared(np.full((225, 300, 3), 100))
    assert {
        name: int(NAMES[f"brightness {name}"].tensor(grey)[0, 50, 50, 0]) for name in ("-20 %", "-10 %", "+20 %")
    } == {
        "-20 %": 80,
        "-10 %": 90,
        "+20 %": 120,
    }
    assert NAMES["brightness +20 %"].tensor(prepared(np.full((225, 300, 3), 250))).max() == 255


def test_blur_has_its_stated_width() -> None:
    """An edge blurred by a Gaussian of sigma s is steepest by 255 / (s sqrt(2 pi)) a pixel."""
    edge = np.zeros((96, 128, 3))
    edge[:, 64:] = 255
    found = prepare(Source.of(edge.astype(np.uint8)), ImageSpec(96))
    for sigma, name in ((1, "blur 1 pixel"), (2, "blur 2 pixels")):
        tensor = NAMES[name].tensor(replace(found, crop=None))[0, 48, :, 0].astype(float)
        centre = np.abs(np.diff(tensor)) @ np.arange(95) / 255
        spread = np.sqrt(np.abs(np.diff(tensor)) @ (np.arange(95) - centre) ** 2 / 255) * 128 / 96
        assert spread == pytest.approx(sigma, rel=0.35)


def test_a_perturbation_without_effect_changes_nothing(classifier: Classifier, data: Manifest) -> None:
    nothing = Perturbation("nothing", "", lambda prepared: prepared.tensor)
    mirror = Perturbation("mirror", "", lambda prepared: prepared.tensor[:, :, ::-1].copy())
    seen: list[tuple[int, int]] = []
    report = measure_robustness(
        classifier, data, lambda done, total: seen.append((done, total)), perturbations=(nothing, mirror)
    )
    assert seen[-1] == (30, 30)
    assert (report["images"], report["classes"]["nv"], report["classes"]["mel"]) == (30, 20, 10)
    first, second = report["perturbations"]
    for share in (*first["flips"].values(), first["triage_changes"]):
        assert share["value"] == share["low"] == 0
        assert share["high"] > 0.1  # thirty images are not certain
    assert first["mean_abs_malignant_difference"]["value"] == first["balanced_accuracy_difference"]["value"] == 0
    assert set(second["flips"]) == {"all", "all but nv"}
    assert second["flips"]["all but nv"]["n"] == 10
    assert second["mean_abs_malignant_difference"]["value"] > 0
    before = [classifier.classify(item.image) for item in data.items]
    after = [
        classifier.predict(replace(p, tensor=mirror.tensor(p)))
        for p in map(classifier.prepare, (i.image for i in data.items))
    ]
    flips = [a.top.label != b.top.label for a, b in zip(before, after, strict=True)]
    triage = [a.triage.category != b.triage.category for a, b in zip(before, after, strict=True)]
    assert second["flips"]["all"]["value"] == np.mean(flips)
    assert second["triage_changes"]["value"] == np.mean(triage)


def test_a_sample_is_balanced_and_nevi_stay_the_most_frequent_class(classifier: Classifier, data: Manifest) -> None:
    report = measure_robustness(classifier, data, sample=6, perturbations=PERTURBATIONS[-1:])
    assert (report["classes"]["nv"], report["classes"]["mel"]) == (3, 3)
    assert set(report["perturbations"][0]["flips"]) == {"all", "all but nv"}
    again = measure_robustness(classifier, data, sample=6, perturbations=PERTURBATIONS[-1:])
    assert again == report


def test_bad_input(classifier: Classifier, data: Manifest, tmp_path: Path) -> None:
    (tmp_path / "damaged.jpg").write_bytes(b"not an image")
    damaged = Item(tmp_path / "damaged.jpg", "nv", "x")
    with pytest.raises(
        DataError, match=r"1 of 4 images \(25.0 %\) cannot be classified\. The first: .*damaged\.jpg: not an image"
    ):
        measure_robustness(classifier, replace(data, items=(*data.items[:3], damaged)))
    with pytest.raises(DataError, match=r"does not have the labels hexagon"):
        measure_robustness(classifier, replace(data, items=(Item(Path("nowhere.jpg"), "hexagon", "x"),)))


def test_the_command(data: Manifest, repository: Path, tmp_path: Path) -> None:
    model = str(repository / "edge_runtime" / "spot_edge" / "models" / "spot-int8.tflite")
    write_manifest(data, tmp_path / "data.csv")
    arguments = [
        "robustness",
        model,
        "--data",
        str(tmp_path / "data.csv"),
        "--split",
        "all",
        "--images",
        "4",
        "--threads",
        "1",
    ]
    done = CliRunner().invoke(bench, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["schema"] == 1
    assert report["data"] == {"name": "data.csv", "split": "all", "images": 30, "sample": 4}
    assert [row["severity"] for row in report["models"][0]["perturbations"]] == [p.severity for p in PERTURBATIONS]
    assert "rotated +10°" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    again = CliRunner().invoke(bench, [*arguments, "--out", str(tmp_path / "out")])
    assert "already exists" in str(again.exception)
