"""From scores to a triage category, to text and to JSON."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from spot_edge.image.quality import Finding
from spot_edge.image.source import Source
from spot_edge.model.interpreter import Runtime
from spot_edge.model.spec import (
    Conformal,
    ImageSpec,
    Label,
    MeasuredIn,
    ModelSpec,
    OperatingPoint,
    Rate,
    SetThreshold,
)
from spot_edge.prediction.burst import Burst
from spot_edge.prediction.prediction import Prediction, PredictionSet, prediction_set_of, rank, triage_of
from spot_edge.prediction.wording import describe, disclaimer, prediction_lines, triage_line

RATE = Rate(0.9, 0.85, 0.95, 116)


def point(threshold: float) -> OperatingPoint:
    return OperatingPoint(f"at {threshold}", threshold, RATE, Rate(0.7, 0.6, 0.8, 629), "validation")


SPEC = ModelSpec(
    "spot",
    "int8",
    (
        Label("mel", "melanoma", "", True),
        Label("nv", "nevus", "", False),
        Label("bcc", "carcinoma", "", True),
        Label("x", "?"),
    ),
    ImageSpec(192),
    MeasuredIn("ai-edge-litert", "2.3.0"),
    1.0,
    {},
    (point(0.25), point(0.5)),  # deliberately unsorted
)


def scores(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def prediction(values: np.ndarray, **changes) -> Prediction:
    whole = Prediction(
        source={"kind": "path", "name": "a.jpg"},
        image={"width": 600, "height": 450, "orientation": 1, "crop": None, "size": 192},
        ranked=rank(SPEC.labels, values),
        triage=triage_of(SPEC, values),
        labels=tuple(label.label for label in SPEC.labels),
        model={"name": "spot", "variant": "int8", "id": "0" * 64},
        runtime=Runtime("ai-edge-litert", "2.3.0"),
        notes=(),
        timings_ms={"decode": 1.23456, "resize": 2.0, "invoke": 3.0},
    )
    return replace(whole, **changes)


@pytest.mark.parametrize(
    ("values", "category", "threshold"),
    [
        (scores(0.5, 0.5, 0, 0), "review now", 0.5),
        (scores(0.25, 0.5, 0.25, 0), "review now", 0.5),
        (scores(0.4999, 0.5001, 0, 0), "review soon", 0.25),
        (scores(0, 0.5, 0.25, 0.25), "review soon", 0.25),
        (scores(0.2499, 0.7501, 0, 0), "routine", 0.25),
        (scores(0, 0, 0, 1), "routine", 0.25),
        (scores(1, 0, 0, 0), "review now", 0.5),
    ],
)
def test_the_category_at_two_operating_points(values: np.ndarray, category: str, threshold: float) -> None:
    triage = triage_of(SPEC, values)
    assert (triage.category, triage.operating_point) == (category, point(threshold))
    assert triage.malignant_score == pytest.approx(float(values[0] + values[2]))


def test_one_operating_point_means_review_now() -> None:
    alone = SPEC._replace(operating_points=(point(0.25),))
    assert triage_of(alone, scores(0.25, 0.75, 0, 0)).category == "review now"
    assert triage_of(alone, scores(0.2, 0.8, 0, 0)).category == "routine"


def test_the_lowest_of_three_operating_points_is_not_routine() -> None:
    three = SPEC._replace(operating_points=(point(0.5), point(0.25), point(0.125)))
    triage = triage_of(three, scores(0.2, 0.8, 0, 0))
    assert (triage.category, triage.operating_point) == ("review soon", point(0.125))
    assert triage_of(three, scores(0.1, 0.9, 0, 0)).category == "routine"


def test_without_operating_points_nothing_is_assessed() -> None:
    triage = triage_of(SPEC._replace(operating_points=()), scores(0, 1, 0, 0))
    assert (triage.category, triage.operating_point) == ("cannot assess", None)
    assert "no measured operating point" in triage.reason


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_numbers_are_not_assessed_and_still_json(odd: float) -> None:
    broken = prediction(scores(0.1, odd, 0.2, 0.3))
    assert broken.abstained
    assert broken.misbehaves
    assert "misbehaves" in broken.triage.reason
    text = json.dumps(broken.as_dict(), allow_nan=False)
    assert sorted(str(each["score"]) for each in json.loads(text)["ranked"])[-1] == "None"


def test_classes_are_ranked_and_equal_ones_keep_their_order() -> None:
    ranked = rank(SPEC.labels, scores(0.2, 0.4, 0.2, 0.2))
    assert [(each.label, each.malignant) for each in ranked] == [
        ("nv", False),
        ("mel", True),
        ("bcc", True),
        ("x", None),
    ]
    assert [each.score for each in ranked] == pytest.approx([0.4, 0.2, 0.2, 0.2])


def test_the_json_form() -> None:
    whole = prediction(
        scores(0.5, 0.25, 0.125, 0.125),
        notes=("a note",),
        prediction_set=PredictionSet(("mel", "nv"), {"mel": 0.95}),
        quality=(Finding("light", 0.25, 0.5, "too dark", "more light"),),
    )
    record = json.loads(json.dumps(whole.as_dict(), allow_nan=False))
    assert set(record) == {
        *("schema", "source", "image", "ranked", "near_tie", "triage", "abstained", "prediction_set", "quality"),
        *("notes", "burst", "model", "runtime", "notice", "timings_ms"),
    }
    assert record["schema"] == 1
    assert record["ranked"][0] == {"label": "mel", "name": "melanoma", "score": 0.5, "malignant": True}
    assert record["triage"]["category"] == "review now"
    assert record["triage"]["operating_point"]["sensitivity"] == {"value": 0.9, "low": 0.85, "high": 0.95, "n": 116}
    assert record["prediction_set"] == {"labels": ["mel", "nv"], "coverage": {"mel": 0.95}}
    assert record["quality"] == [
        {"check": "light", "value": 0.25, "limit": 0.5, "problem": "too dark", "advice": "more light"}
    ]
    assert record["notes"] == ["a note"]
    assert record["runtime"] == {"name": "ai-edge-litert", "version": "2.3.0"}
    assert record["timings_ms"] == {"decode": 1.235, "resize": 2.0, "invoke": 3.0}
    assert record["abstained"] is False


def test_the_text_names_the_image_its_classes_and_notes() -> None:
    cropped = {"crop": [0, 10, 300, 235]}
    text = describe(prediction(scores(0.6, 0.3, 0.1, 0), notes=("measured elsewhere",), image=cropped), top=2)
    lines = text.splitlines()
    assert lines[0] == "a.jpg"
    assert lines[1].split() == ["looks", "most", "like", "melanoma", "model", "score", "0.60", "malignant"]
    assert lines[2].split() == ["then", "nevus", "model", "score", "0.30"]
    assert "carcinoma" not in text
    assert "measured elsewhere" in text
    assert "only the central 300x225 pixels were used" in text


@pytest.mark.parametrize(
    ("first", "second", "near"), [(0.501, 0.4, False), (0.499, 0.4, True), (0.4, 0.4, True), (math.nan, 0.4, False)]
)
def test_two_classes_that_score_alike_are_called_a_near_tie(first: float, second: float, near: bool) -> None:
    found = prediction(scores(first, second, 0.1, 0.0))
    assert found.near_tie is found.as_dict()["near_tie"] is near
    assert ("near tie: melanoma and nevus score almost the same" in " ".join(describe(found, top=1).split())) == near
    assert not any("near tie" in line for line in prediction_lines(found, 2, notes=False))


def test_another_burst_is_advised_after_a_burst() -> None:
    single, burst = (prediction(scores(0.4, 0.4, 0.2, 0), burst=each) for each in (None, Burst(8, 8, 5, 1)))
    assert "take another picture, or a burst" in " ".join(describe(single, top=1).split())
    assert "take another burst" in " ".join(describe(burst, top=1).split())


def test_an_image_that_fails_the_quality_check_has_no_near_tie() -> None:
    unfit = (Finding("light", 0.25, 0.5, "too dark", "more light"),)
    assert not prediction(scores(0.4, 0.4, 0.2, 0), quality=unfit).near_tie


def test_more_classes_than_exist_shows_all_of_them() -> None:
    text = describe(prediction(scores(0.6, 0.3, 0.1, 0)), top=99)
    assert text.count("model score") == 4


def test_a_file_name_cannot_break_a_line() -> None:
    odd = prediction(scores(0.6, 0.3, 0.1, 0), source={"kind": "path", "name": "a\nb\x1b[2J\udcff.jpg"})
    assert describe(odd, top=1).splitlines()[0] == "a\\nb\\x1b[2J\\udcff.jpg"


def test_the_time_of_day_heads_a_camera_picture() -> None:
    taken = time.mktime((2026, 11, 30, 7, 5, 9, 0, 0, -1)) + 0.34
    frame = prediction(scores(0.6, 0.3, 0.1, 0), source=Source.frame(b"", "/dev/video0", taken).as_dict())
    assert describe(frame, top=1).splitlines()[0] == "/dev/video0 at 07:05:09"
    assert frame.as_dict()["source"]["name"] == f"/dev/video0 at {taken:.3f}"


def test_triage_comes_with_its_figures_and_their_n() -> None:
    now = triage_line(triage_of(SPEC, scores(0.6, 0.4, 0, 0)))
    assert now.startswith("REVIEW NOW: malignant score 0.60, at or above 0.50, ")
    assert "90 %" in now
    assert "70 %" in now
    assert "116" in now
    assert "629" in now
    unknown = triage_line(triage_of(SPEC, scores(math.nan, 0, 0, 0)))
    assert unknown.startswith("CANNOT ASSESS: the model file misbehaves: its scores are no probabilities.")


def test_routine_is_never_reassuring() -> None:
    routine = triage_line(triage_of(SPEC, scores(0.1, 0.9, 0, 0)))
    assert "below 0.25" in routine
    assert re.search(r"as 10 % .*of malignant images were \(", routine), routine
    assert "not a diagnosis" in disclaimer(medical=True)


THRESHOLDS = {"mel": (0.95, 0.1), "nv": (0.9, 0.5), "bcc": (0.9, 0.2)}  # no image of "x" was measured
WITH_SETS = SPEC._replace(
    conformal=Conformal(
        SetThreshold(0.9, 0.3, 700),
        {label: SetThreshold(coverage, least, 60) for label, (coverage, least) in THRESHOLDS.items()},
        "validation",
    )
)


def found_set(*values: float) -> PredictionSet | None:
    return prediction_set_of(WITH_SETS, rank(SPEC.labels, scores(*values)))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((0.6, 0.25, 0.125, 0), ("mel", "x")),
        ((0.125, 0.5, 0.25, 0.125), ("nv", "bcc", "mel", "x")),  # a score at its threshold belongs to the set
        ((0.0, 0.4, 0.1, 0.5), ("x",)),
    ],
)
def test_the_set_has_the_classes_at_their_threshold_and_those_without_one(values: tuple, labels: tuple) -> None:
    assert found_set(*values) == PredictionSet(labels, {"mel": 0.95, "nv": 0.9, "bcc": 0.9})


def test_a_model_without_thresholds_gives_no_set() -> None:
    assert prediction_set_of(SPEC, rank(SPEC.labels, scores(1, 0, 0, 0))) is None
    assert "may be" not in describe(prediction(scores(1, 0, 0, 0)), top=1)


def test_a_set_without_malignant_classes_says_how_many_such_sets_miss() -> None:
    values = (0.01, 0.98, 0.0, 0.01)
    text = " ".join(describe(prediction(scores(*values), prediction_set=found_set(*values)), top=1).split())
    assert "may be nevus, ? (such sets miss 5 % of melanoma, 10 % of carcinoma)" in text
    values = (0.2, 0.8, 0.0, 0.0)
    text = " ".join(describe(prediction(scores(*values), prediction_set=found_set(*values)), top=1).split())
    assert "may be nevus, melanoma, ? triage" in text


def test_an_empty_set_is_reported() -> None:
    text = describe(
        prediction(scores(0.01, 0.4, 0.1, 0.4), prediction_set=PredictionSet((), {"mel": 0.95, "bcc": 0.9})), top=1
    )
    assert "may be           none of the classes of this model (such sets miss" in text
