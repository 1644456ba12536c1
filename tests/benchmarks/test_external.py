"""`bench external`: one class of a model against the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spot_bench.commands.bench import bench
from spot_bench.data.drawn import draw_lesion, encode_jpeg
from spot_bench.data.manifest import read_manifest
from spot_bench.drift.external import one_vs_rest
from spot_edge.classifier import Classifier
from spot_edge.errors import DataError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("external")
    rows = ["image,label"]
    for seed in range(12):
        kind = ("melanoma", "nevus", "keratosis")[seed % 3]
        (folder / f"{seed}.jpg").write_bytes(encode_jpeg(draw_lesion(seed, kind=kind)))
        rows.append(f"{seed}.jpg,{kind}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"


def test_the_rates_match_single_predictions(data: Path) -> None:
    classifier = Classifier.load()
    manifest = read_manifest(data)
    report = one_vs_rest(classifier, manifest, "melanoma", "mel")
    assert report["data"]["images"] == 12
    assert report["data"]["positive"] == 4
    predictions = [(item.label == "melanoma", classifier.classify(item.image)) for item in manifest.items]
    found = [each.top.label == "mel" for truth, each in predictions if truth]
    spared = [each.top.label != "mel" for truth, each in predictions if not truth]
    assert report["top_class"]["sensitivity"]["value"] == pytest.approx(sum(found) / 4)
    assert report["top_class"]["specificity"]["value"] == pytest.approx(sum(spared) / 8)
    own = {truth: [_score(a) for t, a in predictions if t == truth] for truth in (True, False)}
    pairs = [(a > b) + (a == b) / 2 for a in own[True] for b in own[False]]
    assert report["auc"]["value"] == pytest.approx(sum(pairs) / len(pairs))
    assert [p["name"] for p in report["operating_points"]] == [p.name for p in classifier.model.spec.operating_points]


def test_the_command_prints_and_saves_the_report(data: Path, repository: Path, tmp_path: Path) -> None:
    model = repository / "edge_runtime" / "spot_edge" / "models" / "spot-int8.tflite"
    arguments = ["external", str(model), "--data", str(data), "--positive", "melanoma", "--class", "mel"]
    done = CliRunner().invoke(bench, [*arguments, "--split", "all", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "12 images of labels.csv, 4 of them melanoma" in done.output
    assert json.loads((tmp_path / "report.json").read_text())["class"] == "mel"


@pytest.mark.parametrize(("positive", "label", "said"), [("mole", "mel", "'mole'"), ("melanoma", "scc", "'scc'")])
def test_unknown_labels_are_refused(data: Path, positive: str, label: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        one_vs_rest(Classifier.load(), read_manifest(data), positive, label)


def _score(prediction: object) -> float:
    return next(score.score for score in prediction.ranked if score.label == "mel")  # type: ignore[attr-defined,no-any-return]
