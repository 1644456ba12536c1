"""Files written before the first release are read with their current names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spot_edge.errors import ModelError
from spot_edge.model.file import ModelFile
from spot_edge.model.old_names import current_report, current_run, current_spec
from spot_edge.model.spec import VERDICTS, as_data
from spot_edge.model.spec_json import parse_spec

CRITERION = {"name": "other first rank, all images", "verdict": "cannot tell", "worse_by": 0.01}
RENAMED = {"name": "top-1 flips, all images", "verdict": "undecided", "worse_by": 0.01}


@pytest.mark.parametrize(("old", "new"), [("passes", "pass"), ("fails", "fail"), ("cannot tell", "undecided")])
def test_verdicts(old: str, new: str) -> None:
    assert current_spec({"drift": {"verdict": old}}) == {"drift": {"verdict": new}}
    assert current_report({"verdict": old}) == {"verdict": new}
    assert new in VERDICTS


def test_a_spec() -> None:
    old = {"capture": {"limits": {"unfamiliarity": 5.0, "light": 0.1}}, "drift": {"criteria": [CRITERION]}, "name": "x"}
    assert current_spec(old) == {
        "image_quality": {"limits": {"ood": 5.0, "light": 0.1}},
        "drift": {"criteria": [RENAMED]},
        "name": "x",
    }


def test_a_run() -> None:
    assert current_run({"trunk": "imagenet", "seed": 1}) == {"weights": "imagenet", "seed": 1}


def test_a_report_at_any_depth() -> None:
    old = {
        "data": {"part": "val"},
        "files": [{"auc_unfamiliarity": 0.9, "drift": {"criteria": [CRITERION]}}],
        "unfamiliarity": 1,
        "trunk": None,
    }
    new = {
        "data": {"split": "val"},
        "files": [{"auc_ood": 0.9, "drift": {"criteria": [RENAMED]}}],
        "ood": 1,
        "weights": None,
    }
    assert current_report(old) == new
    assert current_report([old]) == [new]


def test_metrics_of_a_training() -> None:
    old = {"part": "val", "commonest_class": {"label": "nv"}, "classes": {"nv": {"n": 2, "ranked_first": 1}}}
    new = {"split": "val", "commonest_class": {"label": "nv"}, "classes": {"nv": {"n": 2, "top_class": 1}}}
    assert current_report(old) == new


@pytest.mark.parametrize("translate", [current_spec, current_run, current_report])
def test_current_names_stay(translate: Any) -> None:
    current = {
        "image_quality": {"limits": {"ood": 1}},
        "drift": {"verdict": "pass", "criteria": [RENAMED]},
        "weights": 1,
    }
    assert translate(json.loads(json.dumps(current))) == current


@pytest.mark.parametrize(
    "malformed",
    [
        {"capture": {"limits": 3}},
        {"drift": []},
        {"drift": {"verdict": 1, "criteria": None}},
        {"drift": {"criteria": [None, {"name": 5, "verdict": ["passes"]}]}},
        {"capture": {}, "image_quality": {}},
    ],
)
def test_malformed_values_pass_through_for_the_parser_to_reject(malformed: dict[str, Any], model: ModelFile) -> None:
    translated = current_spec(malformed)
    assert list(translated.values()) == list(malformed.values())
    valid = json.loads(model.members["spot.json"])
    with pytest.raises(ModelError, match=r"spot\.json"):
        parse_spec(json.dumps(valid | malformed).encode(), "m.tflite")


def test_the_translation_of_the_embedded_model_is_complete(model: ModelFile) -> None:
    stored = json.loads(model.members["spot.json"])
    read = as_data(model.spec)
    assert stored.keys() - {"schema"} - read.keys() == {"capture"}, "renewed: remove old_names.py and this test"
    assert len(read["drift"]["criteria"]) == len(stored["drift"]["criteria"])
    assert read["drift"]["verdict"] in VERDICTS
    assert {each["verdict"] for each in read["drift"]["criteria"]} <= set(VERDICTS)
    assert sorted(read["image_quality"]["limits"].values()) == sorted(stored["capture"]["limits"].values())
    text = json.dumps(read)
    for old in ("other first rank", "unfamiliarity", "passes", "cannot tell"):
        assert old not in text
