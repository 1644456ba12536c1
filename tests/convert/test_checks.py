"""The checks refuse what they are there to refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spot_bench.data.predictions import Predictions
from spot_convert.checks.parity import Parity, check_graph, check_outputs, check_size
from spot_convert.modelfile.assembly import append_tail
from spot_convert.modelfile.graph import unpack
from spot_convert.variants.catalog import VARIANTS
from spot_edge import read_model
from spot_edge.errors import CheckError


def test_parity_beyond_its_bounds_is_refused() -> None:
    reference = np.array([[0.9, 0.1], [0.2, 0.8]])
    parity = Parity.between(reference + np.array([[0.002, -0.002], [0, 0]]), reference)
    assert parity.agreement == 1
    parity.require("x", largest=0.003, moved=0.002, agreement=1.0)
    with pytest.raises(CheckError, match=r"differ by up to 0.002"):
        parity.require("x", largest=0.001, moved=0.002, agreement=1.0)


def test_shuffled_classes_have_no_parity_however_many_there_are() -> None:
    reference = np.full((40, 40), 0.1 / 39)
    np.fill_diagonal(reference, 0.9)
    variant = VARIANTS["int8"]
    with pytest.raises(CheckError, match="0 % rank the same class first"):
        Parity.between(np.roll(reference, 1, axis=1), reference).require(
            "x", variant.max_difference, variant.max_shift, variant.min_agreement
        )


def test_scores_that_are_not_numbers_never_have_parity() -> None:
    with pytest.raises(CheckError):
        Parity.between(np.array([[np.nan, 1.0]]), np.array([[0.0, 1.0]])).require("x", 1.0, 1.0, 0.0)


def answered(values: np.ndarray) -> Predictions:
    rows = np.arange(len(values))
    return Predictions(("a",), rows * 0, values, values, rows.astype(str), rows.astype(str))


@pytest.mark.parametrize(
    ("values", "said"),
    [(np.array([[np.nan], [1.0]]), "not all numbers"), (np.array([[0.5], [0.5]]), "the same for every picture")],
)
def test_outputs_that_say_nothing_are_refused(values: np.ndarray, said: str) -> None:
    with pytest.raises(CheckError, match=said):
        check_outputs(answered(values), "x")


def test_a_float_body_does_not_pass_for_an_integer_one(shapes_family: Path) -> None:
    content = read_model(shapes_family / "shapes-float32.tflite").content
    check_graph(content, "x", integer=False)
    with pytest.raises(CheckError, match="stayed in float"):
        check_graph(content, "x", integer=True)


def test_an_integer_body_passes(shapes_family: Path) -> None:
    check_graph(read_model(shapes_family / "shapes-int8.tflite").content, "x", integer=True)


def test_a_file_that_lost_its_weights_is_refused() -> None:
    check_size(b"0" * 4_000_000, 1_000_000, (4, 4), "x")
    with pytest.raises(CheckError, match="takes 190000 bytes"):
        check_size(b"0" * 190_000, 2_000_000, (4, 4), "x")


def test_a_body_that_already_has_scores_gets_no_second_tail(shapes_family: Path) -> None:
    content = read_model(shapes_family / "shapes-int8.tflite").content
    with pytest.raises(CheckError, match="evidence and embedding"):
        append_tail(content, 3, 1.0, b"")


def test_a_resource_variable_is_refused(shapes_family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = read_model(shapes_family / "shapes-float32.tflite").content
    from spot_convert.checks import parity

    def tampered(flatbuffer: bytes) -> object:
        model = unpack(flatbuffer)
        model.operatorCodes[0].builtinCode = 142  # VAR_HANDLE
        return model

    monkeypatch.setattr(parity, "unpack", tampered)
    with pytest.raises(CheckError, match="VAR_HANDLE"):
        check_graph(content, "x", integer=False)
