"""The margins of the drift gate, as a recipe's table or a preset names them."""

from __future__ import annotations

import pytest

from spot_bench.drift.margins import Margins, margins_from
from spot_edge.errors import DataError


@pytest.mark.parametrize(
    "table", [[], {"ece": "small"}, {"ece": 2}, {"ecce": 0.1}, {"recall": {"mel": True}}, {"agreement": -1}]
)
def test_a_bad_table_of_margins_is_refused(table: object) -> None:
    with pytest.raises(DataError, match=r"recipe\.toml: "):
        margins_from(table, "recipe.toml")


def test_margins_are_read_from_a_recipes_table() -> None:
    assert margins_from({"recall": {"bcc": 0.02}, "ece": 0.02}, "x") == Margins(recall={"bcc": 0.02}, ece=0.02)


def test_margins_from_zero_to_one_are_read() -> None:
    assert margins_from({"ece": 0, "agreement": 1}, "x") == Margins(ece=0, agreement=1)
    assert margins_from({}, "x") == Margins(0.01, {}, 0.95, 0.01, 0.01)
    every = {"balanced_accuracy": 0.1, "recall": {"mel": 0.2}, "agreement": 0.3, "ece": 0.4, "macro_auc": 0.5}
    assert margins_from(every, "x") == Margins(0.1, {"mel": 0.2}, 0.3, 0.4, 0.5)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"preset": "lenient"}, "no preset 'lenient'. The presets are screening, strict, any-images"),
        ({"preset": "strict", "ece": 0.02}, "the preset strict sets ece. Remove one of the two"),
        ({"data": "more"}, "gate.data must be a list of names"),
        ({"data": ["a"], "unlabelled": ["a"]}, "names 'a' both as labelled and as unlabelled"),
    ],
)
def test_a_bad_preset_or_name_is_refused(table: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        margins_from(table, "recipe.toml")
