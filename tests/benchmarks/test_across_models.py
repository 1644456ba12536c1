"""Flips across models: made-up predictions with known results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spot_bench.commands.bench import bench
from spot_bench.data.manifest import Item, Manifest, write_manifest
from spot_bench.data.predictions import Predictions, save_predictions
from spot_bench.drift.across_models import (
    CATEGORIES,
    flips_across_models,
    prediction_sets,
    score_margins,
    triage_categories,
)
from spot_bench.drift.lines import across_models_lines
from spot_bench.stats.intervals import wilson
from spot_edge.model.spec import Conformal, ImageSpec, Label, MeasuredIn, ModelSpec, OperatingPoint, Rate, SetThreshold
from spot_edge.prediction.prediction import prediction_set_of, rank, triage_of

IMAGES = 400  # two of each lesion; every fourth lesion is a melanoma
LABELS = ("nv", "mel", "bkl")
RATE = Rate(0.9, 0.8, 0.95, 50)
POINTS = tuple(OperatingPoint(f"point {limit}", limit, RATE, RATE, "validation") for limit in (0.2, 0.6))
CONFORMAL = Conformal(
    SetThreshold(0.9, 0.3, 100), {"nv": SetThreshold(0.9, 0.4, 60), "mel": SetThreshold(0.95, 0.25, 40)}, "validation"
)
FOLDER = Path("/data")


def scores_of(first: np.ndarray, second: np.ndarray, margin: np.ndarray | float) -> np.ndarray:
    """Make scores of three classes: `first` leads `second` by `margin`; the third has 0.1."""
    scores = np.full((len(first), 3), 0.1)
    rows = np.arange(len(first))
    scores[rows, first] = 0.45 + margin / 2
    scores[rows, second] = 0.45 - margin / 2
    return scores.astype(np.float32)


def predictions(variant: str, first: np.ndarray, margin: np.ndarray) -> Predictions:
    truth = (np.arange(IMAGES) // 2 % 4 == 0).astype(int)
    scores = scores_of(first, (first + 1) % 3, margin)
    return Predictions(
        labels=LABELS,
        truth=truth,
        scores=scores,
        logits=np.log(scores),
        groups=np.array([f"lesion-{row // 2}" for row in range(IMAGES)]),
        images=np.array([f"{row}.jpg" for row in range(IMAGES)]),
        model={"name": "toy", "variant": variant, "id": f"{variant}-0123456789"},
        malignant=(False, True, False),
        operating_points=POINTS,
        conformal=CONFORMAL,
    )


@pytest.fixture(scope="module")
def baseline() -> Predictions:
    """A model that is always right; every tenth image is a near tie."""
    truth = (np.arange(IMAGES) // 2 % 4 == 0).astype(int)
    return predictions("float32", truth, np.where(np.arange(IMAGES) % 10 == 0, 0.04, 0.8))


def flipped(baseline: Predictions, variant: str, rows: Any) -> Predictions:
    """The baseline's predictions with the `rows` flipped to the second class, by a margin of .02."""
    scores = baseline.scores.copy()
    before = scores[rows].argmax(axis=1)
    scores[rows] = scores_of((before + 1) % 3, before, 0.02)
    return replace(baseline, scores=scores, model=baseline.model | {"variant": variant, "id": f"{variant}-0123456789"})


def listed(baseline: Predictions, **columns: Any) -> Manifest:
    """Each column is a function of the lesion's number."""
    items = []
    for row, image in enumerate(baseline.images):
        attributes = {name: text for name, value in columns.items() if (text := value(row // 2))}
        label = LABELS[baseline.truth[row]]
        items.append(Item(FOLDER / str(image), label, str(baseline.groups[row]), None, attributes))
    return Manifest(tuple(items), FOLDER / "data.csv", FOLDER)


def test_categories_and_sets_match_the_device() -> None:
    random = np.random.default_rng(3)
    scores = random.dirichlet([0.5, 0.5, 0.5], 300).astype(np.float32)
    int8 = replace(predictions("int8", np.zeros(IMAGES, int), np.full(IMAGES, 0.8)), scores=scores)
    labels = tuple(Label(label, label, malignant=label == "mel") for label in LABELS)
    spec = ModelSpec(
        name="toy",
        variant="int8",
        labels=labels,
        image=ImageSpec(96),
        measured_in=MeasuredIn("ai-edge-litert", "2.3.0"),
        temperature=1.0,
        training={},
        operating_points=POINTS,
        conformal=CONFORMAL,
    )
    urgency, members = triage_categories(int8), prediction_sets(int8)
    assert urgency is not None
    assert members is not None
    for row, own in enumerate(scores):
        ranked = rank(labels, own)
        assert CATEGORIES[urgency[row]] == triage_of(spec, own).category
        found = prediction_set_of(spec, ranked)
        assert found is not None
        assert {LABELS[column] for column in np.flatnonzero(members[row])} == set(found.labels)
        assert score_margins(scores)[row] == pytest.approx(ranked[0].score - ranked[1].score)
    assert triage_categories(replace(int8, operating_points=())) is None
    assert prediction_sets(replace(int8, conformal=None)) is None


def test_changes_are_counted(baseline: Predictions) -> None:
    """Rows 0, 10, 20 and 30 are near ties, of lesions 0, 5, 10 and 15. The first is a melanoma."""
    report = flips_across_models(baseline, [flipped(baseline, "int8", [0, 10, 20, 30])], listed(baseline), draws=200)
    (model,) = report["models"]
    assert model["name"] == "int8"
    flips = model["flips"]
    assert (flips["value"], flips["n"], flips["groups"]) == (0.01, IMAGES, IMAGES // 2)
    assert 0 <= flips["low"] < 0.01 < flips["high"] < 0.03
    # mel -> bkl loses malignancy; nv -> mel is another wrong answer, and more urgent
    assert model["by_effect"] == {"malignancy lost": 1, "now wrong": 3, "still wrong": 0, "now right": 0}
    assert (model["malignant_to_benign"], model["benign_to_malignant"]) == (1, 3)
    assert model["correct"]["images"] == {"lost": 4, "gained": 0, "p": 0.125}
    # malignant scores: melanoma .47 -> .44 and nevus .43 -> .46, both still between .2 and .6
    assert model["triage"]["changed"]["value"] == 0
    assert model["triage"]["malignant_less_urgent"] == {"count": 0, "of": 100}
    near_tie = model["near_tie"]
    assert near_tie["baseline_margin_below"][0] == {"below": 0.05, "count": 4, "of": 4}
    assert near_tie["margin_below"][0]["flips"] == {"count": 4, "of": 4}
    assert near_tie["margin_below"][0]["flagged"]["value"] == 0.1
    # nv .44 (limit .4) with mel .46 (.25): both; mel .44 with bkl, which has no threshold of its own: both
    assert near_tie["prediction_set"]["both_classes"] == {"count": 4, "of": 4}
    assert report["together"] is None


def test_triage_that_changes(baseline: Predictions) -> None:
    """A melanoma with a high score becomes a keratosis: from review now to routine."""
    scores = baseline.scores.copy()
    assert baseline.truth[1] == 1
    scores[1] = [0.05, 0.05, 0.9]
    report = flips_across_models(baseline, [replace(baseline, scores=scores)], listed(baseline), draws=50)
    triage = report["models"][0]["triage"]
    assert (triage["less_urgent"], triage["more_urgent"]) == (1, 0)
    assert triage["malignant_less_urgent"] == {"count": 1, "of": 100}
    assert triage["changed_of_flips"] == {"count": 1, "of": 1}


def test_models_that_flip_the_same_images(baseline: Predictions) -> None:
    """Two models flip the same ten near ties, a third one flips ten other images."""
    same = np.arange(0, 100, 10)
    others = [
        flipped(baseline, "int8", same),
        flipped(baseline, "int4", same),
        flipped(baseline, "dynamic", np.arange(201, 301, 10)),
    ]
    report = flips_across_models(baseline, others, listed(baseline), draws=300)
    together = report["together"]
    assert together["exemplars"]["count"] == 10
    assert together["flipped_by"] == {"0": 380, "1": 10, "2": 10}
    by_chance = together["exemplars"]["by_chance"]
    assert by_chance["any_images"]["high"] < 5
    # 10 of 40 near ties each: 40 * (1/4)^2 = 2.5 of them are shared by chance
    assert by_chance["same_margin"]["mean"] == pytest.approx(2.5, abs=0.4)
    first, second, _ = together["pairs"]
    assert (first["models"], first["both"], first["either"], first["jaccard"]["value"]) == ([0, 1], 10, 10, 1)
    assert first["jaccard"]["low"] is None  # resampling gives no interval
    assert (second["both"], second["either"], second["jaccard"]["value"]) == (0, 20, 0)
    assert first["by_chance"]["any_images"]["mean"] < 0.05
    assert 0.1 < first["by_chance"]["same_margin"]["mean"] < 0.2  # about 2.5 of 17.5
    assert together["near_tie"]["baseline_margin_below"][0] == {"below": 0.05, "count": 10, "of": 10}
    assert together["near_tie"]["both_classes"] == {"count": 20, "of": 20}
    image = together["images"][0]
    assert image["models"].keys() == {"int8", "int4"}
    assert image["margin"] == pytest.approx(0.04)


def test_subgroups_come_from_the_manifest(baseline: Predictions) -> None:
    data = listed(baseline, sex=lambda lesion: "male" if lesion < 101 else "female", age=lambda lesion: "35")
    other = flipped(baseline, "int8", np.arange(0, 100, 10))
    report = flips_across_models(baseline, [other], data, draws=100)
    found = report["models"][0]["concentration"]
    names = [(row["column"], row["subgroup"]) for row in found["subgroups"]]
    assert names == [("class", "nv"), ("class", "mel"), ("sex", "male"), ("sex", "female")]  # one age has no rest
    female = found["subgroups"][-1]
    assert (female["flips"], female["ratio"]["value"], female["ratio"]["high"]) == (0, 0, None)
    assert female["rate"]["high"] == pytest.approx(wilson(0, 99)[1])
    text = "\n".join(across_models_lines(report))
    assert "on whom flips fall (int8)" in text
    assert "4 subgroups tested: by chance 0.2 have an uncorrected p below .05" in text
    assert "sex female" in text
    json.dumps(report, allow_nan=False)


def test_two_models_of_a_variant_get_different_names(baseline: Predictions) -> None:
    one = flipped(baseline, "int8", [0])
    two = replace(one, model=one.model | {"id": "fedcba98765"})
    report = flips_across_models(baseline, [one, two], listed(baseline), draws=20)
    assert [model["name"] for model in report["models"]] == ["int8 int8-012", "int8 fedcba98"]


@pytest.mark.long
def test_the_command(baseline: Predictions, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    same = np.arange(0, 100, 10)
    others = [flipped(baseline, "int8", same), flipped(baseline, "int4", np.append(same, 111))]
    files = []
    for number, each in enumerate([baseline, *others]):
        files.append(str(tmp_path / f"predictions-{number}.npz"))
        save_predictions(each, Path(files[-1]))
    data = listed(baseline, sex=lambda lesion: "male" if lesion < 101 else "female")
    write_manifest(data, tmp_path / "data.csv", root=FOLDER)
    arguments = ["--baseline", files[0], "--data", str(tmp_path / "data.csv"), "--split", "all"]
    bench.main(["drift", *files[1:], *arguments, "--json"], standalone_mode=False)
    report = json.loads(capsys.readouterr().out)["flips_across_models"]
    assert report["together"]["exemplars"]["count"] == 11
    assert [model["name"] for model in report["models"]] == ["int8", "int4"]
    bench.main(["drift", *files[1:], *arguments], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "flipped by at least half of the models: 11 images" in shown
    assert "int8, int4" in shown
    assert "on whom flips fall (mean of all models)" in shown
    bench.main(["drift", files[1], *arguments], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "at least half" not in shown
    assert "on whom flips fall (int8)" in shown
