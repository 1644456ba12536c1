"""`spot.json` is read strictly and written canonically."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from spot_edge.errors import ModelError
from spot_edge.model.spec import (
    Conformal,
    Criterion,
    Drift,
    ImageSpec,
    Label,
    MeasuredIn,
    ModelSpec,
    OperatingPoint,
    QualityLimits,
    Rate,
    SetThreshold,
    as_data,
)
from spot_edge.model.spec_json import parse_spec, render_spec
from spot_edge.model.views import Views

RATE = Rate(0.9, 0.8, 0.95, 116)
FULL = ModelSpec(
    name="läsion",
    variant="int8",
    labels=(Label("mel", "melanoma", "malignant", True), Label("nv", "nevus", "", False), Label("x", "unsure")),
    image=ImageSpec(192),
    measured_in=MeasuredIn("ai-edge-litert", "2.3.0"),
    temperature=0.9,
    operating_points=(OperatingPoint("sensitivity-90", 0.16, RATE, Rate(0.7, 0.6, 0.8, 629), "validation"),),
    conformal=Conformal(SetThreshold(0.9, 0.2, 745), {"mel": SetThreshold(0.95, 0.01, 61)}, "validation"),
    image_quality=QualityLimits({"ood": 5.2, "sharpness": 0.25}, Rate(0.015, 0.01, 0.02, 1495), "test"),
    drift=Drift(
        "undecided",
        "0123",
        "validation",
        (Criterion("recall mel", 0.02, -0.01, 0.05, 0.015, 61, "undecided", 2000),),
    ),
    training={"data": "drawn"},
    licence="none",
    notice="An aid.",
    views=(
        Views(2, 1.1),
        Views(
            8,
            1.2,
            (OperatingPoint("sensitivity-90", 0.17, RATE, RATE, "test"),),
            Conformal(SetThreshold(0.9, 0.3, 745), {"mel": SetThreshold(0.95, 0.02, 61)}, "validation"),
        ),
    ),
)
LEAST = ModelSpec("a", "b", (Label("x", "X"), Label("y", "Y")), ImageSpec(16), MeasuredIn("r", "1"), 1.0, {})
POINT = ("operating_points", 0)
SET = ("conformal", "marginal")
CRITERION = ("drift", "criteria", 0)

# path of a field → values that must be rejected
BAD: dict[tuple[Any, ...], list[Any]] = {
    (): [None, [], "text"],
    ("schema",): [0, 2, "1", None, True],
    ("name",): [None, 1, ["a"], "a\x1b[2J", "a\0", "a\x9b", "a\r"],
    ("variant",): [None, 8],
    ("labels",): [None, {}, "mel", [], [{"label": "mel", "name": "alone"}]],
    ("labels", 0): [None, "mel", []],
    ("labels", 0, "label"): [None, 1, "", "nv", "two\nlines", "two\rlines"],
    ("labels", 0, "name"): [None, 1],
    ("labels", 0, "description"): [None, 1],
    ("labels", 0, "malignant"): [0, 1, "yes"],
    ("image",): [None, 192, []],
    ("image", "size"): [None, "192", 192.0, True, 15, 2049, -192],
    ("image", "geometry"): [None, "crop", "Stretch", 1],
    ("image", "filter"): [None, "nearest", ["bilinear-antialias"]],
    ("measured_in",): [None, "ai-edge-litert"],
    ("measured_in", "runtime"): [None, 2],
    ("measured_in", "version"): [None, 2.3],
    ("temperature",): [None, "1", True, 0, -1, 1e4, float("nan"), float("inf")],
    ("operating_points",): [None, {}, 9 * [None]],
    POINT: [None, "sensitivity-90"],
    (*POINT, "name"): [None, 90],
    (*POINT, "threshold"): [None, "0.5", -0.1, 1.1, False],
    (*POINT, "sensitivity"): [None, 0.9],
    (*POINT, "sensitivity", "value"): [None, 1.01, "0.9"],
    (*POINT, "sensitivity", "low"): [None, -0.01],
    (*POINT, "specificity", "high"): [None, 2],
    (*POINT, "specificity", "n"): [None, 0, 1.5, True],
    (*POINT, "measured_on"): [None, 1],
    ("conformal",): [[], "text", 1],
    SET: [None, [], 0.9],
    (*SET, "coverage"): [None, 1.1, "0.9"],
    (*SET, "threshold"): [None, -0.1, True],
    (*SET, "n"): [None, 0, 1.5],
    ("conformal", "classes"): [None, [], {"bcc": {"coverage": 0.9, "threshold": 0.1, "n": 3}}, {"mel": None}],
    ("conformal", "measured_on"): [None, 1],
    ("image_quality",): [[], "text", 1],
    ("image_quality", "limits"): [
        None,
        [],
        {"sharpness": "0.2"},
        {"sharpness": True},
        {"sharpness": float("nan")},
        {"beauty": 1},
    ],
    ("image_quality", "refused"): [None, 0.01],
    ("image_quality", "refused", "value"): [None, 1.1],
    ("image_quality", "measured_on"): [None, 1],
    ("drift",): [[], "pass"],
    ("drift", "verdict"): [None, "passed", 1],
    ("drift", "against"): [None, 1],
    ("drift", "criteria"): [None, {}],
    CRITERION: [None, "recall"],
    (*CRITERION, "name"): [None, 1],
    (*CRITERION, "worse_by"): [None, "0", 1.1, float("nan")],
    (*CRITERION, "margin"): [None, -2],
    (*CRITERION, "n"): [None, -1, True],
    (*CRITERION, "verdict"): [None, "maybe"],
    (*CRITERION, "would_tell"): [0, 1.5, "many"],
    ("training",): [None, [], "text"],
    ("training", "data"): [None, 1, {}],
    ("training", "half of a pair: \ud800"): ["drawn"],
    ("training", "of two\rlines"): ["drawn"],
    ("views",): [None, {}, 8, [None] * 4],
    ("views", 0): [None, 8, []],
    ("views", 0, "number"): [None, 0, 1, 3, 16, 2.0, "2", True, [2], 8],
    ("views", 0, "temperature"): [None, "1", True, 0, float("nan")],
    ("views", 0, "operating_points"): [None, {}, [None], 9 * [None]],
    ("views", 1, "conformal"): [[], 1],
    ("views", 1, "conformal", "classes"): [None, {"bcc": {"coverage": 0.9, "threshold": 0.1, "n": 3}}],
    ("views", 1, "conformal", "marginal", "n"): [None, 0],
    ("licence",): [None, 1],
    ("notice",): [None, []],
}
CASES = [
    pytest.param(path, value, id=f"{'.'.join(map(str, path))}={value!r}"[:60]) for path in BAD for value in BAD[path]
]
OPTIONAL = {
    "operating_points",
    "conformal",
    "image_quality",
    "drift",
    "training",
    "licence",
    "notice",
    "description",
    "malignant",
    "would_tell",
    "views",
}


def changed(path: tuple[Any, ...], value: Any) -> bytes:
    whole = [json.loads(render_spec(FULL))]
    place: Any = whole
    for key in (0, *path)[:-1]:
        place = place[key]
    place[(0, *path)[-1]] = value
    return json.dumps(whole[0]).encode()


def objects(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every object in `data` with fixed fields, and its path."""
    free = (("conformal", "classes"), ("image_quality", "limits"), ("training",))
    if isinstance(data, dict) and path[-2:] not in free:
        yield path, data
    if isinstance(data, (dict, list)):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from objects(value, (*path, key))


@pytest.mark.parametrize("spec", [FULL, LEAST], ids=["full", "least"])
def test_a_written_spec_is_read_back(spec: ModelSpec) -> None:
    again = parse_spec(render_spec(spec), "m")
    assert again == spec
    assert repr(again) == repr(spec)  # repr names the classes: named tuples of different classes may be equal


def test_named_tuples_become_objects_at_any_depth() -> None:
    rate, data = Rate(0.5, 0.25, 0.75, 9), {"value": 0.5, "low": 0.25, "high": 0.75, "n": 9}
    assert as_data({"a": [rate, (1, rate)], "b": None}) == {"a": [data, [1, data]], "b": None}


def test_the_same_spec_gives_the_same_bytes() -> None:
    again = parse_spec(json.dumps(json.loads(render_spec(FULL)), indent=3).encode(), "m")
    assert render_spec(again) == render_spec(FULL)


def test_a_spec_without_views_is_written_as_before_they_existed() -> None:
    assert b"views" not in render_spec(LEAST)
    with pytest.raises(ModelError, match="views must be entries with different numbers"):
        parse_spec(changed(("views", 0, "number"), 8), "m")


def test_optional_fields_may_be_left_out() -> None:
    least = {key: value for key, value in json.loads(render_spec(LEAST)).items() if key not in OPTIONAL}
    assert parse_spec(json.dumps(least).encode(), "m") == LEAST


@pytest.mark.parametrize(("path", "value"), CASES)
def test_a_field_of_the_wrong_type_or_range_is_named(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(ModelError) as refused:
        parse_spec(changed(path, value), "m.tflite")
    message = str(refused.value)
    assert message.startswith("m.tflite: spot.json")
    assert "\n" not in message
    message.encode()
    named = [str(part) for part in path if isinstance(part, str)][:1]
    assert all(part in message for part in named)


def test_every_unknown_field_is_refused() -> None:
    places = [path for path, _ in objects(json.loads(render_spec(FULL)))]
    assert len(places) == 24
    for path in places:
        with pytest.raises(ModelError, match="must be an object with"):
            parse_spec(changed((*path, "unknown"), 1), "m")


def test_every_missing_field_is_refused() -> None:
    data = json.loads(render_spec(FULL))
    checked = 0
    for _, place in list(objects(data)):
        for key in set(place) - OPTIONAL:
            value = place.pop(key)
            with pytest.raises(ModelError, match=r"schema None|must be an object with"):
                parse_spec(json.dumps(data).encode(), "m")
            place[key] = value
            checked += 1
    assert checked == 84


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"nonsense"])
def test_text_that_is_not_json(text: bytes) -> None:
    with pytest.raises(ModelError, match=r"spot\.json"):
        parse_spec(text, "m")


def test_operating_points_without_a_malignant_label_are_refused() -> None:
    """They would call everything routine."""
    with pytest.raises(ModelError, match="operating_points must be empty if no label is malignant"):
        parse_spec(changed(("labels", 0, "malignant"), None), "m")


def test_a_spec_that_is_too_long_is_neither_written_nor_read() -> None:
    long = changed(("notice",), "x" * 16_000)
    with pytest.raises(ModelError, match="the limit is 16000"):
        parse_spec(long, "m")
    with pytest.raises(ModelError, match="the limit is 16000"):
        render_spec(ModelSpec("a", "b", LEAST.labels, LEAST.image, LEAST.measured_in, 1.0, {}, notice="x" * 16_000))
