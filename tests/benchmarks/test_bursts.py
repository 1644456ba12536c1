"""`bench burst`: the statistics, and the command on drawn lesions."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import KINDS, draw_lesion, encode_jpeg
from spot_bench.data.manifest import Item, Manifest, write_manifest
from spot_bench.report.tables import percent
from spot_bench.robustness.bursts import FORMS, NEAR, differing, measure_bursts
from spot_bench.robustness.captures import CONDITIONS, capture
from spot_bench.robustness.lines import bursts_lines
from spot_bench.stats.intervals import wilson
from spot_bench.stats.metrics import balanced_accuracy, brier, ece
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError
from spot_edge.model.file import read_model

LABELS = {"melanoma": "mel", "nevus": "nv", "keratosis": "bkl", "carcinoma": "bcc", "vascular": "vasc"}


REACH = 0.5  # few drawn lesions have a smaller margin


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The embedded model without quality limits."""
    model = read_model()
    return Classifier(replace(model, spec=model.spec._replace(image_quality=None)), threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Draw small lesions, two images per group."""
    folder = tmp_path_factory.mktemp("drawn")
    items = []
    for seed in range(30):
        kind = KINDS[seed % len(KINDS)]
        path = folder / f"{seed}.jpg"
        path.write_bytes(encode_jpeg(draw_lesion(seed, 120, 90, kind=kind)))
        items.append(Item(path, LABELS.get(kind, "nv"), f"lesion {seed // 2}", "test"))
    return Manifest(tuple(items), folder / "data.csv", folder)


def margin(classifier: Classifier, item: Item) -> float:
    first, second, *_ = classifier.classify(item.image).ranked
    return first.score - second.score


def test_differing_pairs_are_counted() -> None:
    random = np.random.default_rng(1)
    for captures in (random.integers(0, 3, (20, 6)), random.choice(["routine", "review now"], (20, 6))):
        expected = [np.mean([a != b for a, b in combinations(row, 2)]) for row in captures.tolist()]
        np.testing.assert_allclose(differing(captures), expected)
    assert differing(np.zeros((2, 4))).tolist() == [0, 0]
    assert differing(np.arange(8).reshape(2, 4)).tolist() == [1, 1]


def test_figures_match_the_captures(classifier: Classifier, data: Manifest) -> None:
    seen: list[tuple[int, int]] = []
    sizes = {"frames": 3, "repeats": 3, "within": REACH}
    report = measure_bursts(classifier, data, lambda done, total: seen.append((done, total)), **sizes)
    close = [item for item in data.items if margin(classifier, item) < REACH]
    assert seen[-1] == (30, 30)
    assert report["near"] == {"within": REACH, "images": len(close), "lesions": len({item.group for item in close})}
    labels = [label.label for label in classifier.model.spec.labels]
    truth = np.array([labels.index(item.label) for item in close])
    for conditions, found in zip(CONDITIONS, report["conditions"], strict=True):
        scores = {form: np.empty((len(close), 3, len(labels))) for form in FORMS}
        triage = {form: np.empty((len(close), 3), "U16") for form in FORMS}
        for row, item in enumerate(close):
            picture = classifier.prepare(item.image).image
            for place in range(3):
                views = [np.asarray(capture(picture, item.image.name, place, n, conditions)) for n in range(3)]
                together = classifier.classify_burst(views)
                copies = classifier.classify_burst([views[together.burst.kept - 1]] * 3)  # the sharpest frame alone
                for form, prediction in zip(FORMS, (classifier.classify(views[0]), copies, together), strict=True):
                    by_label = {each.label: each.score for each in prediction.ranked}
                    scores[form][row, place] = [by_label[label] for label in labels]
                    triage[form][row, place] = prediction.triage.category
        assert (found["conditions"], found["usable"]) == (conditions, 1)
        for form in FORMS:
            flips = differing(scores[form].argmax(axis=2)).mean()
            expected = np.mean([[np.mean(scores[form][truth == c].argmax(2) == c)] for c in np.unique(truth)])
            assert found[form]["flips"]["value"] == pytest.approx(flips)
            assert found[form]["flips"]["low"] <= flips <= found[form]["flips"]["high"]
            assert found[form]["triage_flips"]["value"] == pytest.approx(differing(triage[form]).mean())
            assert found[form]["balanced_accuracy"]["value"] == pytest.approx(expected)
        ones = found["single"]["flips"]["value"]
        expected = None if ones == 0 else pytest.approx(found["burst"]["flips"]["value"] / ones)
        assert found["burst"]["flips_relative_to_single"]["value"] == expected
        assert found["burst"]["balanced_accuracy_difference"]["value"] == pytest.approx(
            found["burst"]["balanced_accuracy"]["value"] - found["single"]["balanced_accuracy"]["value"]
        )
    assert measure_bursts(classifier, data, **sizes) == report


def test_calibration_uses_one_capture_of_every_image(classifier: Classifier, data: Manifest) -> None:
    found = measure_bursts(classifier, data, frames=2, repeats=2, within=1.1)["calibration"]
    labels = [label.label for label in classifier.model.spec.labels]
    scores = np.empty((2, len(data.items), len(labels)))
    for row, item in enumerate(data.items):
        picture = classifier.prepare(item.image).image
        views = [np.asarray(capture(picture, item.image.name, 0, n, "changing")) for n in range(2)]
        for form, prediction in enumerate((classifier.classify(views[0]), classifier.classify_burst(views))):
            by_label = {each.label: each.score for each in prediction.ranked}
            scores[form, row] = [by_label[label] for label in labels]
    truth = np.array([labels.index(item.label) for item in data.items])
    for name, measure in {"ece": ece, "brier": brier, "balanced_accuracy": balanced_accuracy}.items():
        single, burst = (measure(truth, each) for each in scores)
        assert found["single"][name]["value"] == pytest.approx(single, abs=1e-6)
        assert found["burst"][name]["value"] == pytest.approx(burst, abs=1e-6)
        assert found["burst_minus_single"][name]["value"] == pytest.approx(burst - single, abs=1e-6)


def test_shares_of_zero_and_one_have_an_interval(classifier: Classifier, data: Manifest) -> None:
    """One image, whose captures may differ or not: its interval is never a single point."""
    report = measure_bursts(classifier, replace(data, items=data.items[:1]), frames=2, repeats=2, within=1.1)
    for found in report["conditions"]:
        for form in FORMS:
            share = found[form]["flips"]
            if share["value"] in (0, 1):
                assert (share["low"], share["high"]) == wilson(int(share["value"]), 1)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    shown = {"bursts": report}
    assert max(map(len, bursts_lines(shown))) <= 80


def test_bad_input(classifier: Classifier, data: Manifest, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not have the labels hexagon"):
        measure_bursts(classifier, replace(data, items=(replace(data.items[0], label="hexagon"),)))
    (tmp_path / "damaged.jpg").write_bytes(b"not an image")
    damaged = Item(tmp_path / "damaged.jpg", "nv", "x")
    with pytest.raises(DataError, match="1 of 1 images"):
        measure_bursts(classifier, replace(data, items=(damaged,)))
    with pytest.raises(DataError, match=r"no image whose two highest scores are within 0\.0"):
        measure_bursts(classifier, replace(data, items=data.items[:2]), frames=2, within=0.0)


def test_the_command(classifier: Classifier, data: Manifest, repository: Path, tmp_path: Path) -> None:
    model = str(repository / "edge_runtime" / "spot_edge" / "models" / "spot-int8.tflite")
    items = sorted(data.items, key=lambda item: margin(classifier, item))[:3]
    assert margin(classifier, items[0]) < NEAR, "draw other lesions"
    write_manifest(replace(data, items=tuple(items)), tmp_path / "data.csv")
    options = ["burst", model, "--data", str(tmp_path / "data.csv"), "--burst", "2", "--threads", "1"]
    done = CliRunner().invoke(bench, [*options, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["schema"], report["data"]["split"], report["bursts"]["frames"]) == (1, "test", 2)
    assert (report["bursts"]["repeats"], len(report["bursts"]["conditions"])) == (8, 2)
    assert "flips" in done.stdout
    assert "burst of 2" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    again = CliRunner().invoke(bench, [*options, "--out", str(tmp_path / "out")])
    assert "already exists" in str(again.exception)


def test_percent_formats_a_share() -> None:
    assert percent({"value": 0.125, "low": 0.1, "high": None}) == "12.5 (10.0--)"
    assert percent({"value": None}) == "-"
